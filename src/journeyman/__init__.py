"""Journeyman takes a policy from apprenticeship to promotion."""

from importlib.metadata import version

__version__ = version("journeyman")
