"""Wardline, a healthcare interface engine. `engine` is the import package; the command is `wardline`."""

__version__ = "0.1.0"
