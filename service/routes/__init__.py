"""Routes that belong to no package below `service`."""
