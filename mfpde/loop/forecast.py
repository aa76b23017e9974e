"""What a run will take of memory and disk, from the shapes of what the code allocates.

The peak of memory is the largest of four moments: features are evaluated for the first time; a step
is made; a snapshot's dissipation is taken; the snapshots kept in memory become one array. A method
says itself what its steps hold (``Method.holding``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arguments import shown
from mfpde.errors import InvalidInput, NotEnoughMemory, StorageError
from mfpde.flows.agreement import resolved_walls
from mfpde.flows.gradient import takes_gradient
from mfpde.flows.table import BLOCK, KEPT
from mfpde.grids.axis import FEWEST_CELLS
from mfpde.grids.grid import Grid
from mfpde.loop.choice import chosen_for
from mfpde.loop.machine import available_memory, free_disk
from mfpde.loop.record import DENSITIES, Keep
from mfpde.methods.step import Method
from mfpde.problems.kernel import KernelProblem
from mfpde.problems.problem import Problem

Shape = tuple[int, ...]

NUMBER = 8  # bytes
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
MOST_TAKEN = 0.8  # of the memory available
SPARE = 0.05  # of the disk's free space, left over
PAGE = 4096  # bytes of disk that the smallest file takes
SCALARS = 9  # variables with one number a snapshot
LEDGER = 40  # numbers a snapshot in the list of what is whole
DESCRIPTIONS = 64  # files of metadata, in pages
CHECKPOINTS = 3  # densities: the newest, the one before, and one being written
DROPS, ENTROPIC = 6.2, 7.2  # fields that a dissipation takes beside the potential
GAPS = 1.5  # fields that lie idle where blocks are taken from the heap
TRIFLE = 2**24  # bytes for which the system is not asked: an interpreter holds ten times as much
HEAP = 2**25  # bytes from which on malloc hands every block back to the system (glibc)


@dataclass(frozen=True)
class Forecast:
    """What a run will take, and what there is.

    Attributes:
        memory: bytes at the peak, beside those of the interpreter with this package.
        disk: bytes of the run's store at most, uncompressed; 0 without one.
        available: bytes of memory that this process may still take.
        free: bytes free where the store will be; inf without one.
        shape: cells along each axis, by coordinate.
        largest: the finest grid of the same proportions that fits.
    """

    memory: int
    disk: int
    available: int
    free: float
    shape: dict[str, int]
    largest: dict[str, int]

    @property
    def fits_memory(self) -> bool:
        """Whether at most MOST_TAKEN of the available memory is needed."""
        return self.memory <= MOST_TAKEN * self.available

    @property
    def fits_disk(self) -> bool:
        """Whether SPARE of the free disk is left over."""
        return self.disk <= (1 - SPARE) * self.free

    def __repr__(self) -> str:
        disk = f"; {size(self.disk)} on disk, {size(self.free)} free" if self.disk else ""
        verdict = "fits" if self.fits_memory and self.fits_disk else "does not fit"
        return (
            f"Forecast: {size(self.memory)} of memory at the peak, {size(self.available)} "
            f"available{disk}: {cells_of(self.shape)} {verdict}, {cells_of(self.largest)} is the "
            "largest that does"
        )


def forecast(
    problem: Problem | KernelProblem,
    grid: Grid,
    method: Method | None,
    times: ArrayLike,
    keep: Keep = "density",
    to: str | os.PathLike[str] | None = None,
) -> Forecast:
    """What ``mf.solve`` with the same arguments will take of memory and disk.

    Right to 15 %, to 35 % for sparse factorisations, as tests/faults/memory.py measures on runs
    above some 10 MB. What functions of a user's own take while they are evaluated is not known, nor
    what ``watch`` does.

    Args:
        problem, grid, method, times, keep, to: as for ``mf.solve``.

    Raises:
        InvalidInput: when problem, grid and method do not fit, and for an unknown ``keep``.
    """
    need = Need.of(problem, grid, method, times, keep, to is not None)
    available, free = available_memory(), math.inf if to is None else free_disk(Path(to))

    def fits(shape: Shape) -> bool:
        enough = need.memory(shape) <= MOST_TAKEN * available
        return enough and need.disk(shape) <= (1 - SPARE) * free

    return Forecast(
        memory=need.memory(grid.shape),
        disk=need.disk(grid.shape),
        available=available,
        free=free,
        shape=dict(zip(grid.coords, grid.shape, strict=True)),
        largest=dict(zip(grid.coords, largest(grid.shape, fits), strict=True)),
    )


@dataclass(frozen=True)
class Need:
    """What a run takes on a grid of any shape.

    Attributes:
        problem, method, keep: as for ``mf.solve``.
        snapshots: how many are kept.
        stored: whether in a folder.
        smooth: whether the dissipation is taken from gradients of the potential.
    """

    problem: Problem | KernelProblem
    method: Method
    keep: Keep
    snapshots: int
    stored: bool
    smooth: bool

    @classmethod
    def of(
        cls,
        problem: Problem | KernelProblem,
        grid: Grid,
        method: Method | None,
        times: ArrayLike,
        keep: Keep,
        stored: bool,
    ) -> Need:
        """That of a call of ``mf.solve``."""
        method = chosen_for(problem, grid, method)
        if not isinstance(keep, str) or keep not in get_args(Keep):
            raise InvalidInput(f"keep = {shown(keep)}", fix=f"one of {get_args(Keep)}")
        walls = resolved_walls(problem, grid).values()
        smooth = takes_gradient(problem, method.quadrature, walls)
        return cls(problem, method, keep, np.size(times), stored, smooth)

    def memory(self, shape: Shape) -> int:
        """Bytes at the peak."""
        kept = 0 if self.stored else self.snapshots
        held = peak(self.problem, shape, self.method, kept, share(self.keep), self.smooth)
        return round(NUMBER * held)

    def disk(self, shape: Shape) -> int:
        """Bytes of the store, uncompressed."""
        told = (self.problem, shape, self.snapshots, self.keep, self.method.window)
        return stored(*told) if self.stored else 0


def check_room(
    problem: Problem | KernelProblem,
    grid: Grid,
    method: Method,
    times: ArrayLike,
    keep: Keep,
    to: str | os.PathLike[str] | None,
) -> None:
    """Raise where a run would take more than there is; the system is asked only if it matters."""
    need = Need.of(problem, grid, method, times, keep, to is not None)
    if to is None and need.memory(grid.shape) <= TRIFLE:
        return
    told = forecast(problem, grid, method, times, keep, to)
    check_memory(told)
    check_disk(told)


def check_memory(told: Forecast) -> None:
    """Raise NotEnoughMemory where a run would take more than 80 % of what is available."""
    if not told.fits_memory:
        raise NotEnoughMemory(
            f"{cells_of(told.shape)} cells need {size(told.memory)} of memory",
            f"{size(told.available)} are available, and {MOST_TAKEN:.0%} of them may be taken",
            f'{cells_of(told.largest)} cells; or keep less: keep="last", or "single"',
        )


def check_disk(told: Forecast) -> None:
    """Raise StorageError where a run's store would leave less than 5 % of the free disk."""
    if not told.fits_disk:
        raise StorageError(
            f"the run needs {size(told.disk)} on disk",
            f"{size(told.free)} are free, of which {SPARE:.0%} are left over",
            'another folder, fewer times, fewer cells, or keep="marginals"',
        )


def peak(
    problem: Problem | KernelProblem,
    shape: Shape,
    method: Method,
    kept: int,
    share: float,
    smooth: bool,
) -> float:
    """Numbers held at the worst moment of a run that keeps a share of ``kept`` densities in memory.

    The flow's own fields are volumes, start, penalty, its masses, and the external potential; the
    first of whole densities is the start, and the last the one that is stepped. With a window there
    are two densities at every instant, two flows, and a third with a method of its own while one
    is carried over.
    """
    cells, held = math.prod(shape), method.holding(problem, shape)
    tables, evaluating, anew = interaction(problem, shape)
    now = (5 if smooth else 6) * cells + tables + held.always + cells
    rows = kept * share * cells * (2 if method.window else 1)
    shared = kept and share == 1 and not method.window
    earlier = max(rows - 2 * cells, 0) if shared else cells + rows
    another = 4 * cells + tables
    now += another if method.window else 0
    return max(
        4 * cells + tables + evaluating,
        (now + earlier + another + held.always + evaluating) if method.window else 0,
        now + earlier + anew + held.stepping,
        now + earlier + anew + dissipation(problem, shape, smooth),
        now + earlier + rows + gaps(cells),
    )


def interaction(problem: Problem | KernelProblem, shape: Shape) -> tuple[float, float, float]:
    """Numbers that an interaction holds, that it takes to begin, and that every pass takes anew.

    Features are evaluated in blocks, once for good where they fit into a table; to begin with, on
    both sides of every face. A kernel is kept for all pairs of cells.
    """
    if isinstance(problem, KernelProblem):
        cells = math.prod(shape)
        return cells**2 + 4.0 * cells, cells**2, 0.0
    points, d, n = features(problem, shape)
    block, fits = min(points * n, BLOCK), points * n <= KEPT
    table = points * n if fits else 0
    return table + (d + 3.0) * points, 4 * block + 6 * points, 0.0 if fits else 2 * block


def dissipation(problem: Problem | KernelProblem, shape: Shape, smooth: bool) -> float:
    """Numbers that ``WassersteinFlow.dissipation`` takes beside the potential."""
    cells, D = math.prod(shape), len(shape)
    if not smooth:
        return (ENTROPIC if problem.entropy > 0 else DROPS) * cells + gaps(cells)
    assert isinstance(problem, Problem)
    points, d, n = features(problem, shape)
    return max(D + 3, 2 * D) * cells + (2 / d + 1) * min(points * n * d, BLOCK)


def gaps(cells: int) -> float:
    """Numbers that lie idle between fields of different ages and sizes, as far as was measured."""
    return GAPS * cells if NUMBER * cells < HEAP else 0.0


def features(problem: Problem, shape: Shape) -> tuple[int, int, int]:
    """Points at which features are tabulated, their dimension, and the number of samples."""
    others = shape[1:] if problem.lifted else shape
    return math.prod(others), len(others), len(problem.y)


def stored(
    problem: Problem | KernelProblem, shape: Shape, snapshots: int, keep: Keep, window: bool = False
) -> int:
    """Bytes of a store: a file a snapshot for every variable, and the checkpoints."""
    cells, n, x = math.prod(shape), len(problem.y), problem.x.size
    densities = 2 if window else 1
    every = [1] * SCALARS + [n, 2 * len(shape)]
    every += [math.ceil(cells * share(keep))] * densities if keep in DENSITIES else []
    every += list(shape) if keep == "marginals" else []
    every += [2 * len(shape)] if window else []
    once = [cells] * (CHECKPOINTS + densities * (keep not in DENSITIES))
    once += [x, n, n, snapshots, LEDGER * snapshots, *shape, *(N + 1 for N in shape)]
    once += [1] * DESCRIPTIONS
    return snapshots * sum(map(on_disk, every)) + sum(map(on_disk, once))


def share(keep: Keep) -> float:
    """The part of a density's numbers that are kept of it at every snapshot."""
    return np.dtype(DENSITIES[keep]).itemsize / NUMBER if keep in DENSITIES else 0.0


def on_disk(numbers: int) -> int:
    """Bytes of a file of so many numbers, in whole pages."""
    return math.ceil(NUMBER * numbers / PAGE) * PAGE


def largest(shape: Shape, fits: Callable[[Shape], bool]) -> Shape:
    """The finest shape of the same proportions that fits; that of fewest cells if none does."""
    longest = max(shape)

    def scaled(cells: int) -> Shape:
        return tuple(max(FEWEST_CELLS, N * cells // longest) for N in shape)

    low, high = FEWEST_CELLS, 2 * FEWEST_CELLS
    while fits(scaled(high)):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(scaled(middle)) else (low, middle)
    return scaled(low)


def size(amount: float) -> str:
    """Bytes for a reader."""
    power = min(max(int(math.log2(max(amount, 1)) / 10), 0), len(UNITS) - 1)
    value = amount / 1024**power
    return f"{value:.0f} {UNITS[power]}" if value >= 100 else f"{value:.3g} {UNITS[power]}"


def cells_of(shape: Mapping[str, int]) -> str:
    """A grid's cells for a reader: a × w = 128 × 128."""
    return f"{' × '.join(shape)} = {' × '.join(map(str, shape.values()))}"
