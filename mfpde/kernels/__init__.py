"""Compiled loops on (outer, axis, inner) views; no physics, no xarray."""
