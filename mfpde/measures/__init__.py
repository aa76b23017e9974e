"""Runs as measures: how far they are from each other, and from the truth."""

from mfpde.measures.accuracy import estimated_error, true_error
from mfpde.measures.energy import energy_distance, energy_distance_each
from mfpde.measures.measure import as_measure, coordinates, drawn, in_window, periods
from mfpde.measures.transport import (
    exact_w2,
    flat,
    marginal_w1,
    marginal_w2,
    sliced_w2,
    sliced_w2_each,
)

__all__ = [
    "as_measure",
    "coordinates",
    "drawn",
    "energy_distance",
    "energy_distance_each",
    "estimated_error",
    "exact_w2",
    "flat",
    "in_window",
    "marginal_w1",
    "marginal_w2",
    "periods",
    "sliced_w2",
    "sliced_w2_each",
    "true_error",
]
