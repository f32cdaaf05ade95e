"""Players that act on observations without torch."""
