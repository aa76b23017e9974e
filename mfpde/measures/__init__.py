"""Runs as measures, and how far measures are from each other."""

from mfpde.measures.distances import (
    energy_distance,
    energy_distance_each,
    exact_w2,
    marginal_w1,
    sliced_w2,
    sliced_w2_each,
)
from mfpde.measures.measure import as_measure, coordinates, periods

__all__ = [
    "as_measure",
    "coordinates",
    "energy_distance",
    "energy_distance_each",
    "exact_w2",
    "marginal_w1",
    "periods",
    "sliced_w2",
    "sliced_w2_each",
]
