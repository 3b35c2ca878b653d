"""The machine and its terminal: cores, memory, JAX's settings, signals, all that is said."""
