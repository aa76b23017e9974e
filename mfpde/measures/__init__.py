"""Runs as measures: how far they are from each other, and from the truth."""

from mfpde.measures.accuracy import estimated_error, true_error
from mfpde.measures.distances import (
    energy_distance,
    energy_distance_each,
    exact_w2,
    marginal_w1,
    sliced_w2,
    sliced_w2_each,
)
from mfpde.measures.measure import as_measure, coordinates, periods
from mfpde.measures.regime import regime

__all__ = [
    "as_measure",
    "coordinates",
    "energy_distance",
    "energy_distance_each",
    "estimated_error",
    "exact_w2",
    "marginal_w1",
    "periods",
    "regime",
    "sliced_w2",
    "sliced_w2_each",
    "true_error",
]
