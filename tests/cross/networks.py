"""Many small networks at once, by a loop of its own: what replicas predict."""

import numpy as np


def predictions(
    x: np.ndarray, y: np.ndarray, start: np.ndarray, horizon: float, steps: int
) -> np.ndarray:
    """f (R, n) at the horizon of R networks a tanh(wx) at once, start (2, R, m); classical RK4."""

    def rate(u: np.ndarray) -> np.ndarray:
        a, w = u
        psi = np.tanh(w * x[:, None, None])
        r = ((a * psi).mean(axis=2) - y[:, None])[:, :, None] / len(x)
        return -np.stack([(r * psi).sum(0), a * ((r * x[:, None, None]) * (1 - psi**2)).sum(0)])

    u, h = start, horizon / steps
    for _ in range(steps):
        k1 = rate(u)
        k2 = rate(u + h / 2 * k1)
        k3 = rate(u + h / 2 * k2)
        u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(u + h * k3))
    return (u[0] * np.tanh(u[1] * x[:, None, None])).mean(axis=2).T
