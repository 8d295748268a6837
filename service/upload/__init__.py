"""What `headwater upload` does; it speaks only the public wire."""
