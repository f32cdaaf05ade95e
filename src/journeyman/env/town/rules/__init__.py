"""The rules of the town, each a compiled function over one world."""
