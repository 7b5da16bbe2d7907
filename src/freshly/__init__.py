"""The kitchen backend for families who plan meals."""

__version__ = "0.2.0"
