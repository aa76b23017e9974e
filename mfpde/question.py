"""What ``mfpde run`` is asked: its arguments, checked before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.experiment import METHODS
from mfpde.loop.files import digest
from mfpde.problems.activations import ACTIVATIONS
from mfpde.problems.data import motorcycle, read_csv
from mfpde.problems.losses import LOSSES
from mfpde.report import findings
from mfpde.report.findings import Samples
from mfpde.results import FILE
from mfpde.version import __version__

MOVING = {name: sigma for name, sigma in ACTIVATIONS.items() if sigma.slope is not None}
CELLS = {1: 64, 2: 64, 3: 64, 4: 24}  # along every axis, by their number
MOST_PARTICLES = 10**7
LATEST = 1e6  # horizon that may be asked for
BUNDLED = "motorcycle"
T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """The arguments of ``mfpde run`` that its results depend on.

    ``data`` is a file's path, or empty for the bundled data; None stands for what is chosen later.
    """

    data: str
    x: tuple[str, ...]
    y: str
    activation: str
    loss: str
    ridge: float
    entropy: float
    bias: bool
    method: str
    cells: int | None
    horizon: float | None
    particles: tuple[int, ...]
    seeds: int

    def posed(self) -> tuple[Samples, mf.Problem, dict[str, int]]:
        """The data, the two-layer network on them, and cells along every axis.

        Raises InvalidInput for arguments that have no meaning, together or alone.
        """
        loss = one_of("loss", self.loss, LOSSES)
        samples = samples_of(self.data, self.x, self.y, loss)
        problem = network(samples, self, loss)
        method = one_of("method", self.method, METHODS)()
        if problem.entropy > 0:
            check_noise(self, method)
        check_horizon(self.horizon)
        cells = CELLS[problem.dimension] if self.cells is None else self.cells
        mf.Grid(**dict.fromkeys(problem.coords, mf.uniform(-1, 1, cells)))  # refused where none is
        return samples, problem, dict.fromkeys(problem.coords, cells)

    def record(self) -> dict[str, Any]:
        """All of it as JSON holds it, with the hash of the data."""
        parts = asdict(self) | {"x": list(self.x), "particles": list(self.particles)}
        if not parts.pop("data"):
            return parts | {"data": f"bundled with mfpde {__version__}"}
        path = Path(self.data)
        hash_ = digest(path.read_bytes())
        return parts | {"data": f"{path.name} of hash {hash_}", FILE: str(path.absolute())}

    @classmethod
    def recorded(cls, record: Mapping[str, Any]) -> Question:
        """The question of a record."""
        parts: dict[str, Any] = {**record, "data": record.get(FILE, "")}
        parts.pop(FILE, None)
        return cls(**parts | {"x": tuple(parts["x"]), "particles": tuple(parts["particles"])})


def samples_of(data: str, x: Sequence[str], y: str, loss: mf.Loss) -> Samples:
    """The columns ``x`` and ``y`` of a file, or the bundled data, standardised.

    Targets of a loss that takes labels (logistic: −1 and +1) stay as they are.
    """
    labels = bool(loss.labels)
    if not data and (x or y):
        fix = "mfpde run DATA.csv --x COL --y COL"
        raise InvalidInput("--x and --y name columns, but of no file", "", fix)
    if not data:
        return findings.standardised(BUNDLED, *motorcycle(), ["times_ms"], "accel_g", labels)
    if not (x and y):
        fix = "--x COL for every input and --y COL for the target"
        raise InvalidInput(f"which columns of {data}?", "", fix)
    return findings.standardised(Path(data).stem, *read_csv(data, x, y), x, y, labels)


def network(samples: Samples, asked: Question, loss: mf.Loss) -> mf.Problem:
    """The two-layer network on the samples, started from standard normal neurons."""
    problem = mf.two_layer(
        samples.x,
        samples.y,
        activation=one_of("activation", asked.activation, MOVING),
        loss=loss,
        penalty=mf.ridge(asked.ridge) if asked.ridge else None,
        entropy=asked.entropy,
        bias=asked.bias,
    )
    if problem.dimension not in CELLS:
        raise InvalidInput(
            f"a neuron has {problem.dimension} coordinates: {', '.join(problem.coords)}",
            f"a density is kept on at most {max(CELLS)}",
            "at most two columns --x, or three with --no-bias",
        )
    return problem


def one_of(option: str, chosen: str, known: Mapping[str, T]) -> T:
    """The entry of a table, or an error that lists its names."""
    if chosen not in known:
        raise InvalidInput(f"--{option} {chosen}", "", f"one of {', '.join(known)}")
    return known[chosen]


def widths_of(words: Sequence[str]) -> tuple[int, ...]:
    """Whole numbers, increasing, from words that hold one or several."""
    numerals = re.split(r"[,\s]+", " ".join(words).strip(", "))
    whole = all(re.fullmatch(r"0*[1-9]\d{0,8}", numeral) for numeral in numerals)
    if not whole or max(map(int, numerals)) > MOST_PARTICLES:
        raise InvalidInput(
            f"--particles {' '.join(words)}",
            f"up to {MOST_PARTICLES:,} particles are compared with a density",
            "whole numbers, as in --particles 100 1000",
        )
    return tuple(sorted({int(numeral) for numeral in numerals}))


def check_noise(asked: Question, method: mf.Method) -> None:
    """Raise InvalidInput where nothing holds the mass together, or nothing spreads it."""
    given = f"--entropy {asked.entropy:g}"
    if not asked.ridge:
        why = "noise spreads neurons without end where no penalty holds them"
        raise InvalidInput(f"{given} without --ridge", why, f"{given} --ridge 0.1")
    if not method.diffuses:
        why = "it does not step the diffusion λΔρ"
        raise InvalidInput(f"{given} with --method {asked.method}", why, "leave --method out")


def check_horizon(asked: float | None) -> None:
    """Raise InvalidInput for a time at which no run ends."""
    if asked is not None and not 0 < asked <= LATEST:
        raise InvalidInput(f"--horizon {asked}", "", f"a time above 0, at most {LATEST:g}")
