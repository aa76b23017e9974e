"""Arrays that start with a line of the cache, and densities whose memory is used again."""

from __future__ import annotations

import math
import sys

import numpy as np

from mfpde.problems.problem import Array

BYTES = 64  # in a line
NUMBERS = BYTES // 8


def aligned(shape: tuple[int, ...]) -> Array:
    """Room for an array that starts with a line of the cache."""
    return within(np.empty(math.prod(shape) + NUMBERS), shape)


def in_lines(*lengths: int) -> Array:
    """The same with rows that all do: the last length is made one of whole lines."""
    *outer, last = lengths
    return aligned((*outer, -(-last // NUMBERS) * NUMBERS))


def within(memory: Array, shape: tuple[int, ...]) -> Array:
    """The array of this shape that starts with the first whole line of some memory."""
    start = first_line(memory)
    return memory[start : start + math.prod(shape)].reshape(shape)


def first_line(memory: Array) -> int:
    """The index at which the first whole line of some memory starts."""
    return -memory.__array_interface__["data"][0] % BYTES // 8


class Recycled:
    """Densities of one shape: one that nobody holds any longer is given out again.

    Fresh memory costs the system more than a step does. A view of a density counts as the density:
    all of them hold the memory below, and how many do is asked of the interpreter.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.size = shape, math.prod(shape)
        self.memory: list[Array] = []
        self.starts: list[int] = []
        self.extend()
        self.unheld = self.holders(0)

    def holders(self, k: int) -> int:
        """Of the k-th piece of memory."""
        return sys.getrefcount(self.memory[k])

    def extend(self) -> None:
        """Take one more piece of memory."""
        self.memory.append(np.empty(self.size + NUMBERS))
        self.starts.append(first_line(self.memory[-1]))

    def empty(self) -> Array:
        """Room for a density."""
        free = (k for k in range(len(self.memory)) if self.holders(k) == self.unheld)
        k = next(free, len(self.memory))
        if k == len(self.memory):
            self.extend()
        start = self.starts[k]
        return self.memory[k][start : start + self.size].reshape(self.shape)
