"""A run: its cases, chunks and stages, its folder and datasets, and the processes that share it."""
