"""Files: written whole or not at all, locked, and read only after they are checked."""
