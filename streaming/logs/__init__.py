"""Implementations of `streaming.log.Log`, one module each."""
