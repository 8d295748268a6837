"""A client for the terminal: it speaks only the public wire and imports nothing of the server."""
