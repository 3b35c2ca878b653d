"""What the trainer is checked against and shares no code with: closed forms, a float64 oracle, exact losses."""
