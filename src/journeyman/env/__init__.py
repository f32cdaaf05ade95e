"""Environments as lanes: the interface, the built-in town, and what checks them."""
