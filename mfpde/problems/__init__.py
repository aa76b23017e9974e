"""WHAT is minimised: pointwise definitions only."""
