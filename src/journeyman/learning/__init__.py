"""Networks, losses and updates: the only package that imports torch."""
