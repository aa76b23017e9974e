"""How fast cells empty down V: what bounds an explicit step.

Rows of cells, faces and V are those of mfpde/kernels/transport.py.
"""

from __future__ import annotations

from mfpde.kernels.compiling import compiled
from mfpde.kernels.tiles import OPEN, PERIODIC
from mfpde.kernels.transport import potential, strides_of


def _outwards(v, other, per_distance, per_width, total):  # type: ignore[no-untyped-def]
    """Add the rate at which cells empty towards others: (V − V_other)⁺/(distance·width)."""
    for j in range(total.size):
        total[j] += max((v[j] - other[j]) * per_distance, 0.0) * per_width


outwards = compiled(_outwards)


def _emptying(V, faces, layers, rows):  # type: ignore[no-untyped-def]
    """The largest rate at which a cell of some layers empties through all its faces, 1/time."""
    shape, walls, lowest, per_distance, per_width, _ = faces
    last, M = shape.size - 1, V[1].size
    n = shape[last]
    strides, _ = strides_of(shape)
    v, other, total, most = rows[0, :n], rows[1, :n], rows[2, :n], rows[3, :n]
    drop = rows[4, : n + 1]
    most[:] = 0.0
    for i in layers:
        for p in range(i * M, (i + 1) * M, n):
            potential(V, p, v)
            for j in range(n - 1):
                drop[j + 1] = (v[j] - v[j + 1]) * per_distance[last, j]
            drop[0] = drop[n] = 0.0
            if walls[last] == PERIODIC:
                drop[0] = drop[n] = (v[n - 1] - v[0]) * lowest[last]
            elif walls[last] == OPEN:
                drop[0] = (v[0] - v[1]) * lowest[last]
                drop[n] = (v[n - 2] - v[n - 1]) * per_distance[last, n - 1]
            for j in range(n):
                total[j] = (max(-drop[j], 0.0) + max(drop[j + 1], 0.0)) * per_width[last, j]
            for d in range(last):
                stride, cells, wall = strides[d], shape[d], walls[d]
                k = (p // stride) % cells
                for end in range(2):
                    width, face = per_width[d, k], k + end - 1
                    rate = per_distance[d, face] if face >= 0 else lowest[d]
                    step = (2 * end - 1) * stride
                    at_wall = k == end * (cells - 1)
                    if not at_wall or wall == PERIODIC:
                        potential(V, p - (cells - 1) * step if at_wall else p + step, other)
                        outwards(v, other, rate, width, total)
                    elif wall == OPEN:
                        potential(V, p - step, other)
                        outwards(other, v, rate, width, total)
            for j in range(n):
                most[j] = max(most[j], total[j])
    return most.max()


emptying = compiled(_emptying)
