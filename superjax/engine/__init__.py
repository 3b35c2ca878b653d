"""How models are trained: the loop of one model, the compiled program of a batch, the kernel, random numbers."""
