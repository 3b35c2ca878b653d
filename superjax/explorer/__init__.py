"""A page to look inside the maps of a run: one file that needs nothing else, not even a network."""

from superjax.explorer.document import page

__all__ = ["page"]
