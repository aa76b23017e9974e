"""One step as a symmetric sequence of moves along single coordinates.

Strang (1968): half moves of all coordinates but the last, a whole move of the last, and back; order
2. Suzuki's composition (1990) of five such steps, one of them backwards, is of order 4.
"""

from __future__ import annotations

from collections.abc import Sequence

SUZUKI = 1.0 / (4.0 - 4.0 ** (1.0 / 3.0))


def strang(coordinates: Sequence[int]) -> list[tuple[int, float]]:
    """(coordinate, share of the step), symmetric."""
    *first, last = coordinates
    out = [(k, 0.5) for k in first]
    return [*out, (last, 1.0), *reversed(out)]


def suzuki(coordinates: Sequence[int]) -> list[tuple[int, float]]:
    """Strang steps of shares s, s, 1 − 4s, s, s."""
    shares = (SUZUKI, SUZUKI, 1.0 - 4.0 * SUZUKI, SUZUKI, SUZUKI)
    return [(k, share * part) for share in shares for k, part in strang(coordinates)]


def merged(sequence: Sequence[tuple[int, float]], k: int) -> list[tuple[int, float]]:
    """The same with neighbouring moves of coordinate k made in one: those of an exact flow."""
    out: list[tuple[int, float]] = []
    for j, share in sequence:
        if out and j == k == out[-1][0]:
            out[-1] = (k, out[-1][1] + share)
        else:
            out.append((j, share))
    return out
