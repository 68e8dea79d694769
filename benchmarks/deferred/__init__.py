"""Deferred mode and stripes, beside immediate mode, a trigger by hand, and no view."""
