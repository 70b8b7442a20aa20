"""Pure functions from a need and offers to ranked plans. No Django, no clock, no randomness."""
