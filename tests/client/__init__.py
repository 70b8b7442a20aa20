"""Tests of the client: the SDK and `yard`."""
