"""The kitchen backend for families who plan meals."""

__version__ = "0.1.0"
