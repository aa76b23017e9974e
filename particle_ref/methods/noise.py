"""Random numbers of methods: streams of their own, and where a stream has come to."""

from __future__ import annotations

import reprlib
from typing import Any, TypeAlias

import numpy as np

from particle_ref.arguments import whole
from particle_ref.errors import InvalidInput

Seed: TypeAlias = int | tuple[int, ...]
State: TypeAlias = dict[str, Any]  # of a generator: words, whole numbers and dicts of them

KEY = (1,)  # of all streams; those of clouds of the same seed have none
WORDS = 4  # of 32 bits each, that every number of a seed fills: so no two seeds are spelled alike
LARGEST = 2 ** (32 * WORDS) - 1


def stream(seed: Seed, state: State | None = None) -> np.random.Generator:
    """The random numbers of a seed, from their beginning or from the ``state`` of a generator.

    Args:
        seed: a whole number ≥ 0, or several: a study's, and which of its replicas. Streams of
            different seeds are independent, and independent of the cloud of the same seed.
        state: ``rng.bit_generator.state`` of an earlier generator of this seed.

    Raises InvalidInput for another seed.
    """
    numbers = seed if isinstance(seed, tuple) else (seed,)
    if not numbers or not all(whole(number, 0, LARGEST) for number in numbers):
        raise InvalidInput(
            f"seed = {reprlib.repr(seed)}",
            "random numbers begin at a seed, so that a run can be repeated",
            "a whole number ≥ 0, or a tuple of them",
        )
    words = [int(number) >> 32 * k & 0xFFFFFFFF for number in numbers for k in range(WORDS)]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words, spawn_key=KEY)))
    if state is not None:
        rng.bit_generator.state = state
    return rng
