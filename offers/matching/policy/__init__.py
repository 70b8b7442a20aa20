"""Policies of a running workload: what to hold now."""
