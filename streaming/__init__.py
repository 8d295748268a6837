"""Text generation: the domain, the engines and the SSE edge. Knows nothing of `service` or `uploads`."""
