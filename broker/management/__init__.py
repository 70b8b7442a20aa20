"""Management commands of the broker."""
