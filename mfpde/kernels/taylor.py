"""The Taylor series of the prediction's equation (methods/residual.py) with a kernel matrix."""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled


def _taylor(kernel, weights, decay, h, f, S, slope, terms, least):  # type: ignore[no-untyped-def]
    """(f, S) a time h later: f' = −Ks − decay·f, S' = s − decay·S, s' = weights·f'.

    Terms are summed until they are below ``least`` of their sums.
    """
    n = f.shape[0]
    f_term, S_term, s = f.copy(), S.copy(), slope.copy()
    f_sum, S_sum, moved = f.copy(), S.copy(), np.empty(n)
    for k in range(1, terms):
        part = h / k
        moved[:] = 0.0
        for i in range(n):
            for j in range(n):
                moved[j] += kernel[i, j] * s[i]
        f_last, f_most, S_last, S_most = 0.0, 0.0, 0.0, 0.0
        for j in range(n):
            f_term[j] = part * (-moved[j] - decay * f_term[j])
            S_term[j] = part * (s[j] - decay * S_term[j])
            s[j] = weights[j] * f_term[j]
            f_sum[j] += f_term[j]
            S_sum[j] += S_term[j]
            f_last, f_most = max(f_last, abs(f_term[j])), max(f_most, abs(f_sum[j]))
            S_last, S_most = max(S_last, abs(S_term[j])), max(S_most, abs(S_sum[j]))
        if f_last <= least * f_most and S_last <= least * S_most:
            break
    return f_sum, S_sum


taylor = compiled(_taylor)
