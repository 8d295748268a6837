"""Implementations of `streaming.engine.Engine`, one module or package each."""
