"""How every loop is compiled: cached on disk, IEEE arithmetic in the written order, no fastmath.

Kernels are written ``f = compiled(_f)`` so that the plain function stays within reach.
"""

from numba import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")
