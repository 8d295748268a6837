"""Implementations of the protocols of `uploads`, one module each. Imported only when one is opened."""
