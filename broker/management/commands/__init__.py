"""The commands that `make run` and `make demo` call."""
