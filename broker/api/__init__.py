"""HTTP in, one call down, JSON out: a file per resource."""
