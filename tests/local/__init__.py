"""Tests of what `make run` starts on one machine."""
