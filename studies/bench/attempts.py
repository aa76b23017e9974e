"""Why some goals are missed, and what was tried: the words beside the measured numbers.

Times in here were measured when it was tried, before and after one behind the other, on the machine
of docs/BENCHMARKS.md; they do not change with a new run of the benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """Of one goal or of several that have the same cause.

    Attributes:
        figures: how the names of the goals' rows begin.
        why: what the time is spent on, and what bounds it from below.
        kept: what was tried and helped.
        dropped: what was tried and did not.
    """

    figures: tuple[str, ...]
    why: str
    kept: tuple[str, ...]
    dropped: tuple[str, ...]


ACCOUNTS = (
    Account(
        ("case A, L1 ≤ 1e-03", "case B, L1 ≤ 1e-03"),
        "One composed step on 48² cells is 21 passes over the density. Compiled loops take 1.1 ms "
        "of it, most of it the 15 remaps of w, two of three of them corrections that make a move "
        "symmetric; Python and NumPy take 70 µs a pass, for arrays that loops would pass in 2 µs. "
        "Below a millisecond a whole composed step would have to be one compiled function.",
        (
            "half moves of a that touch made one: 15 sweeps to 11",
            "conversions inside the passes: 39 launches to 3; with the merging 3.4 to 2.6 ms",
            "set-up of a solve without repeated features, nodes and rows: 1.24 to 0.49 ms",
        ),
        (
            "kernels specialised by order, so that launches cost less: they cost 2 µs, 0.1 ms "
            "in all",
            "Strang steps instead: eight are needed for 1e-3, 4 ms",
        ),
    ),
    Account(
        ("upwind step out of cache",),
        "A step must read ρ and write ρ', and a write that is no streaming store reads its line "
        "first: 24 bytes for the 16 that a copy moves, so two thirds of the ceiling is the most "
        "that can be had. Fluxes and counts of a row then take longer than memory does: 1.7 ns a "
        "cell with everything in the cache, where the ceiling is 0.5 to 0.8.",
        (
            "potential and fluxes in one pass, V never stored, moments counted in the same pass",
            "moments of four layers in one loop: 0.45 to 0.25 ns a cell",
        ),
        (
            "columns in tiles of 128 or 256 cells, for the nearest cache: 3.9 ns (128) and 3.2 "
            "(256) at 2048² "
            "against 2.0, as short pieces of rows defeat the prefetching of memory",
            "one loop for fluxes and update: 1.4 against 1.7 ns where rows are long, but its many "
            "arrays are told apart at run time, and rows of 128 are no longer vectorised: 5.2 "
            "against 4.5 ns at 128³",
            "fluxes kept by turns instead of overwritten: 2.0 against 1.8 ns at 512², muscl 3.4 "
            "against 2.8",
            "vectors of 256 bits instead of 512: no difference",
        ),
    ),
    Account(
        ("upwind step in cache", "muscl stage"),
        "A dozen rows of work of 512 numbers are 50 KiB, more than the nearest cache; a row costs "
        "110 ns beside its cells; Python takes 0.1 ms a stage.",
        (
            "moments of four layers in one loop: 0.45 to 0.25 ns a cell",
            "aligned rows, offsets instead of slices, contiguous inner loops",
        ),
        ("tiles of columns, one loop for fluxes and update, fluxes by turns: as above",),
    ),
    Account(
        ("semi-Lagrangian step of order 7",),
        "Two shifts (8.8 ns a cell), a remap (7.5), three conversions (2.8) and two counts (1.6) "
        "read and write the field eight times; 4 to 6 ns are NumPy's, on nodes and features. "
        "The division of cells in the remap takes 2 ns and "
        "is near what arithmetic without fused multiply-adds allows.",
        (
            "conversions inside the passes, a step that starts from the point values its field "
            "was made of: 37 to 24 ns, eleven passes to eight",
            "feet in far apart cells divided side by side: 24-32 to 17-19 ns a foot there",
            "unsigned indices, tiles for the nearest cache, one pass a conversion, shared feet",
        ),
        ("streaming conversions, contraction, fewer nodes, wider tiles: no gain",),
    ),
    Account(
        ("50 steps, 3-D", "50 steps, 4-D"),
        "A 4-D step of semi_lagrangian is seven sweeps, each a pass that gathers and scatters "
        "lines a plane apart, about 110 ns a cell in remaps and shifts, 40 in the feet; the "
        "tangent kernels of seven moves, 64 samples on 64³ points, are 15 Gflop, some 60 ns a "
        "cell. All of it is shared by two threads. Upwind and muscl take slabs of layers.",
        (
            "conversions inside the passes: 29 passes to 14 in 4-D; 128³ 98 to 79 ns a cell",
            "tangent kernels as a matrix of pairs, in pieces shared by threads",
            "lines with the same nodes one after the other; wider blocks of lines: copies of "
            "strided lines 5.2 to 3.1 ns a cell at 64⁴",
            "lines that hold next to nothing rest: nothing here, where the law fills its box; "
            "360 to 254 ns a cell for a law of a quarter of the width",
        ),
        ("symmetric products (syrk) for the matrix of pairs: 65 against 72 ms",),
    ),
    Account(
        ("particle step, m = 10000",),
        "tanh of 640 000 arguments, twice, stored nowhere: 1.2 ms of the step are these two loops.",
        ("tanh worked out beside its argument, with fused multiply-adds: force 1.46 to 1.29 ms",),
        (
            "two or four samples abreast: 0.60-0.65 against 0.62 ms",
            "narrow accumulators: 0.624 against 0.622 ms; the number of inputs as a constant of "
            "the compilation: 3.3 ms",
            "tanh kept between the passes: about 0.85 ms in all, but no longer linear in m",
        ),
    ),
    Account(
        ("particle step, m = 1000,",),
        "Two products of matrices by BLAS are 2 ms of it, tanh and its slope 0.3.",
        ("no copies beside the products: 3.1-3.8 to 3.0-3.4 ms, within the noise",),
        (
            "products in blocks of particles: 10 % slower; transposed operands: 1.33 against 1.2 "
            "ms; the output weight folded into the slopes: 1.5 against 1.2 ms",
        ),
    ),
)


def account_of(figure: str) -> Account | None:
    """Of the goal with this name."""
    return next((a for a in ACCOUNTS if figure.startswith(a.figures)), None)
