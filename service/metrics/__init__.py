"""What `/metrics` tells. Only this package and its route know Prometheus."""
