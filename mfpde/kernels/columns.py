"""Neighbouring lines of a field, each in a row of its own, and back; whether they are empty."""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiling import compiled

ROWS = 8  # of a field at once: a cache holds them, and what is written is contiguous
U = np.uintp


def _columns(source, start, stride, N, width, lines, r):  # type: ignore[no-untyped-def]
    """Copy ``width`` neighbouring lines of N numbers each to the rows ``lines``, from r on.

    Lines of the fastest axis lie end to end, others are columns.
    """
    if stride == 1:
        for j in range(width):
            line, at = lines[j], start + j * N
            for k in range(N):
                line[U(r + k)] = source[U(at + k)]
        return
    for first in range(0, N, ROWS):
        rows = min(ROWS, N - first)
        for j in range(width):
            line, at = lines[j], start + first * stride + j
            for k in range(rows):
                line[U(r + first + k)] = source[U(at + k * stride)]


columns = compiled(_columns)


def _put_columns(lines, target, start, stride, N, width, r):  # type: ignore[no-untyped-def]
    """Copy the rows back."""
    if stride == 1:
        for j in range(width):
            line, at = lines[j], start + j * N
            for k in range(N):
                target[U(at + k)] = line[U(r + k)]
        return
    for k in range(N):
        at = start + k * stride
        for j in range(width):
            target[U(at + j)] = lines[U(j), U(r + k)]


put_columns = compiled(_put_columns)


def _is_empty(v, first, N, stride, lines, empty):  # type: ignore[no-untyped-def]
    """Whether neighbouring lines, of N cells a stride apart, hold no more than ``empty`` in all."""
    held = 0.0
    for k in range(N):
        at = first + k * stride
        for j in range(lines):
            held += abs(v[U(at + j)])
        if held > empty:
            return False
    return held <= empty


is_empty = compiled(_is_empty)
