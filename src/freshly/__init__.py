"""The kitchen backend for families who plan meals."""
