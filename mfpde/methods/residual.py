"""The closed equation of the prediction while one coordinate moves, and what it drives.

    f' = −K s(f) − decay·f,   S' = s(f) − decay·S,   S(0) = 0

s is the risk's slope, K the tangent kernel restricted to the moving coordinate, frozen. S/dt is
then the slope a sweep of length dt is made with: exact for the output weight, whose kernel rests
while it moves, and of order 2 for the others.

For the square loss the pair is linear with constant coefficients and its Taylor series is summed to
round-off; other losses take a Runge–Kutta method of order 8 at a tight tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from mfpde.kernels.taylor import taylor
from mfpde.problems.losses import BoundLoss, square
from mfpde.problems.problem import Array

Kernel = Callable[[Array], Array] | Array
TERMS = 60
LONGEST = 1.0  # rate·dt of one Taylor series: its terms fall from the start
ROUND_OFF = 1e-17


@dataclass(frozen=True)
class Drive:
    """The equation above.

    Attributes:
        loss: gives s(f).
        kernel: K, (n,) -> (n,), or its matrix (n, n), symmetric.
        rate: an upper bound of the eigenvalues of K times the loss's curvature.
        decay: ridge strength on the moving coordinate.
    """

    loss: BoundLoss
    kernel: Kernel
    rate: float
    decay: float = 0.0

    def over(self, dt: float, f: Array) -> Array:
        """S after dt, starting from f; dt may be negative. NaN, which the loop refuses, of NaN."""
        if not (np.isfinite(f).all() and np.isfinite(self.rate)):
            return np.full_like(f, np.nan)
        return self.summed(dt, f) if self.loss.loss is square else self.integrated(dt, f)

    def summed(self, dt: float, f: Array) -> Array:
        """Taylor series of both functions, restarted so often that its terms fall at once."""
        parts = max(1, int(np.ceil(abs(dt) * (self.rate + abs(self.decay)) / LONGEST)))
        S = np.zeros_like(f)
        for _ in range(parts):
            f, S = self.series(dt / parts, f, S)
        return S

    def series(self, h: float, f: Array, S: Array) -> tuple[Array, Array]:
        """(f, S) a time h later; the k-th terms are h^k/k! times the k-th derivatives."""
        slope = self.loss.slope(f)
        if isinstance(self.kernel, np.ndarray):
            weights, decay = self.loss.weights, self.decay
            return taylor(self.kernel, weights, decay, h, f, S, slope, TERMS, ROUND_OFF)
        f_term, S_term = f, S
        f_sum, S_sum = f.copy(), S.copy()
        for k in range(1, TERMS):
            f_term, S_term = (
                (h / k) * (-self.kernel(slope) - self.decay * f_term),
                (h / k) * (slope - self.decay * S_term),
            )
            slope = self.loss.weights * f_term
            f_sum, S_sum = f_sum + f_term, S_sum + S_term
            if small(f_term, f_sum) and small(S_term, S_sum):
                break
        return f_sum, S_sum

    def integrated(self, dt: float, f: Array) -> Array:
        """The same for any loss."""
        n = len(f)
        kernel = self.kernel.__matmul__ if isinstance(self.kernel, np.ndarray) else self.kernel

        def rates(_: float, state: Array) -> Array:
            slope = self.loss.slope(state[:n])
            if not np.isfinite(slope).all():  # solve_ivp would look for a step for ever
                raise FloatingPointError
            f_rate = -kernel(slope) - self.decay * state[:n]
            return np.concatenate([f_rate, slope - self.decay * state[n:]])

        start = np.concatenate([f, np.zeros(n)])
        try:
            path = solve_ivp(rates, (0.0, dt), start, method="DOP853", rtol=1e-12, atol=1e-14)
        except FloatingPointError:
            return np.full(n, np.nan)  # the loop refuses the step
        return path.y[n:, -1] if path.success else np.full(n, np.nan)


def small(term: Array, total: Array) -> bool:
    """Whether a term no longer counts."""
    largest = np.maximum.reduce
    return bool(largest(np.abs(term)) <= ROUND_OFF * largest(np.abs(total)))
