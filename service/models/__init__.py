"""Models from anywhere: what `models.toml` names, fetched, checked, prepared once and found again in milliseconds."""
