"""What a cloud predicts over time, as a Chebyshev series: n numbers that hold a whole flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

from particle_ref.cloud import Cloud
from particle_ref.errors import NumericalStop
from particle_ref.force import Force
from particle_ref.problem import Array
from particle_ref.runge_kutta import integrate
from particle_ref.spaces import Space

MOST_INSTANTS = 600
LONGER = 1.5  # times as many instants where a series has not converged
COMPARED = np.linspace(0, 1, 65)  # where in time two histories are compared


@dataclass(frozen=True, eq=False)
class History:
    """f(t) on [0, horizon] as Σ_k c_k T_k(2t/horizon − 1), and where the cloud went."""

    horizon: float
    coefficients: Array  # (K, n)
    low: Array  # (D,) of the box that held the cloud
    high: Array  # (D,)

    def __call__(self, t: float) -> Array:
        """f(t), (n,)."""
        angle = np.arccos(np.clip(2 * t / self.horizon - 1, -1, 1))
        return np.cos(np.arange(len(self.coefficients)) * angle) @ self.coefficients

    @property
    def tail(self) -> float:
        """The largest of the last four coefficients, which tell how far the series converged."""
        return float(np.abs(self.coefficients[-4:]).max()) / self._scale

    def gap(self, other: History) -> float:
        """The largest difference of two histories, relative to max(1, |f|)."""
        times = self.horizon * COMPARED
        return max(float(np.abs(self(t) - other(t)).max()) for t in times) / self._scale

    @property
    def _scale(self) -> float:
        return max(1.0, float(np.abs(self.coefficients).max()))


def instants(horizon: float, count: int) -> Array:
    """Chebyshev–Lobatto points of [0, horizon], increasing, (count,)."""
    return horizon * np.sin(0.5 * np.pi * np.arange(count) / (count - 1)) ** 2


def series(values: Array) -> Array:
    """Chebyshev coefficients (K, n) of the polynomial through values (K, n) at ``instants``."""
    c = dct(values[::-1], type=1, axis=0) / (len(values) - 1)
    c[[0, -1]] /= 2
    return c


def predicted(
    force: Force, space: Space, cloud: Cloud, horizon: float, count: int, tolerance: float
) -> History:
    """The history of a cloud that moves by u' = −∇V, from at least ``count`` instants.

    Steps are right to ``tolerance``, the series to a tenth of it.

    Raises:
        NumericalStop: when the flow cannot be followed, or no series converges.
    """
    while True:
        history = _sampled(force, space, cloud, horizon, count, tolerance)
        if history.tail <= tolerance / 10:
            return history
        if count > MOST_INSTANTS:
            raise NumericalStop(
                f"the prediction over time is known within {history.tail:.1e} only",
                f"a series of {count} terms has not converged: it has kinks, or layers much "
                f"shorter than the horizon {horizon:g}",
                "a larger tolerance, or a shorter horizon",
            )
        count = int(LONGER * count)


def _sampled(
    force: Force, space: Space, cloud: Cloud, horizon: float, count: int, tolerance: float
) -> History:
    def rate(t: float, position: Array) -> Array:
        return force.velocity(space.wrap(position), cloud.weight)

    low, high = cloud.position.min(axis=0), cloud.position.max(axis=0)
    values = [force(space.wrap(cloud.position), cloud.weight).prediction]
    times = instants(horizon, count).tolist()
    for position in integrate(rate, cloud.position, times, tolerance):
        values.append(force(space.wrap(position), cloud.weight).prediction)
        low, high = np.fmin(low, position.min(axis=0)), np.fmax(high, position.max(axis=0))
    return History(horizon, series(np.array(values)), low, high)
