"""Queries in Python: their speed beside SQL's, that of writing rows, and of functions that run as Python."""
