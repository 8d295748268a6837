"""Models that answer at once, one module for each kind. Only these and the engines import model libraries."""
