"""What a case does with its cells after training: one module each."""
