"""What one model is trained on: the model, its inputs, what is minimised, and how the mean of that is taken."""
