"""What a study is, and all that is written of one: data, figures, a report, the gallery.

A study is one file beside this one. At its top level it holds

    CLAIM                           a Claim
    Config                          a frozen dataclass: defaults are the full version, quick() a
                                    small one; a field is an int, float, bool, str or tuple of them
    run(config, progress) -> data   all numbers, as one xarray.Dataset
    figures(data) -> {name: Figure}
    checks(data) -> [Check, ...]

and it writes nothing itself. ``mfpde study NAME`` runs it. The gallery is README.md beside this
file; ``python studies/study.py gallery FOLDER ...`` takes full results into it and draws it anew.
"""

from __future__ import annotations

import inspect
import io
import json
import math
import platform
import runpy
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from importlib.metadata import version
from operator import length_hint
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

import mfpde as mf
from mfpde.errors import AlreadyExists, InvalidInput
from mfpde.inspection import LIBRARIES
from mfpde.loop.files import TEMPORARY, force_names, make_all, rename, reported, write_all
from mfpde.report.figures import rendered, styled
from mfpde.report.page import Page, Picture, Table, html_page

HERE = Path(__file__).resolve().parent
GALLERY, README = HERE / "gallery", HERE / "README.md"
SUMMARY = "summary.json"
STANDINGS = ("theorem", "observation", "false as often stated")
WIDTHS = (900, 760, 640, 520, 420)  # of a gallery's picture, in dots: the first that is small
SMALL = 60_000  # bytes
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

Item = TypeVar("Item")


# What a study says --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """What is claimed, by whom, and what was found.

    Attributes:
        statement: one or two sentences, as it is stated.
        reference: where, with the theorem's number.
        standing: one of STANDINGS.
        verdict: what the full version of the study finds.
    """

    statement: str
    reference: str
    standing: str
    verdict: str

    def __post_init__(self) -> None:
        if self.standing not in STANDINGS:
            raise InvalidInput(f"standing = {self.standing!r}", "", f"one of {STANDINGS}")


@dataclass(frozen=True)
class Check:
    """A number and where theory says that it lies; NaN lies nowhere."""

    name: str
    value: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def passed(self) -> bool:
        """Whether it lies there."""
        return bool(self.low <= self.value <= self.high)

    @property
    def bound(self) -> str:
        """Where it should lie, in words."""
        if self.low == self.high:
            return f"= {self.low:.6g}"
        ends = {"≥": self.low, "≤": self.high}
        told = [f"{sign} {end:.4g}" for sign, end in ends.items() if math.isfinite(end)]
        return " and ".join(told) or "none"


class Progress:
    """Wraps what a study goes through: bars with the time left at a terminal, or silence."""

    def __init__(self, shown: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        self.bars = Bars(
            *columns,
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not shown,
        )

    def __call__(self, steps: Iterable[Item], label: str) -> Iterator[Item]:
        """Every step in turn."""
        if self.bars.disable:
            yield from steps
            return
        outermost = not self.bars.live.is_started
        with self.bars if outermost else nullcontext():
            task = self.bars.add_task(label, total=length_hint(steps) or None)
            for step in steps:
                yield step
                self.bars.advance(task)
            self.bars.remove_task(task)


# What several studies measure with ----------------------------------------------------------------

ALARM = 3.9  # standard deviations of a normal that are exceeded once in 10⁴


def exponent(x: ArrayLike, y: ArrayLike) -> float:
    """The slope of log y in log x, by least squares."""
    return float(np.polyfit(np.log(np.asarray(x)), np.log(np.asarray(y)), 1)[0])


def exponent_error(x: ArrayLike, replicas: int) -> float:
    """That of a fitted exponent, exceeded once in 10⁴, plus 0.05 for the terms of higher order.

    y is the root of a mean square over independent replicas. That of χ² with one degree of freedom,
    the worst case, has a logarithm with the variance 2/replicas; its root half of that deviation.
    """
    log_x = np.log(np.asarray(x))
    spread = np.sqrt(((log_x - log_x.mean()) ** 2).sum())
    return float(ALARM / np.sqrt(2 * replicas) / spread + 0.05)


def described(data: xr.Dataset, about: Mapping[str, str]) -> xr.Dataset:
    """The data with what each of its variables is, all of them numbers without unit."""
    for name, words in about.items():
        data[name].attrs = {"long_name": words, "units": "1"}
    return data


# A study ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """A study's file, read and not yet run: its names, as the top of this file lists them."""

    path: Path
    title: str
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As on the command line."""
        return self.path.stem

    @property
    def claim(self) -> Claim:
        """What it is about."""
        return self.about["CLAIM"]

    def in_brief(self) -> str:
        """Name, title, standing, and verdict, as lines."""
        verdict = textwrap.fill(self.claim.verdict, 96, initial_indent="  ", subsequent_indent="  ")
        return f"{self.name}: {self.title} ({self.claim.standing})\n{verdict}"

    def config(self, settings: Sequence[str] = (), quick: bool = False) -> Any:
        """The full version, or a small one, with ``field=value`` settings on top.

        Raises InvalidInput, which lists the fields, for what is none or is not of its type.
        """
        chosen = self.about["Config"].quick() if quick else self.about["Config"]()
        return replace(chosen, **dict(self.setting(text) for text in settings))

    def setting(self, text: str) -> tuple[str, Any]:
        """Name and value of ``field=value``."""
        name, equals, value = text.partition("=")
        types = self.types()
        if not equals or name not in types:
            listed = ", ".join(f"{field} ({typed(kind)})" for field, kind in types.items())
            raise InvalidInput(
                f"--set {text}", f"the fields of {self.name} are {listed}", "--set FIELD=VALUE"
            )
        try:
            return name, parsed(value, types[name])
        except ValueError:
            listed = ", ".join(f"{field} ({typed(kind)})" for field, kind in types.items())
            raise InvalidInput(
                f"--set {text}",
                f"{name} is {typed(types[name])}; the fields are {listed}",
                "a value of that type; several are separated by commas",
            ) from None

    def version_of(self, config: Any) -> str:
        """Whether parameters are those of the full version, the quick one, or which are others."""
        for name, whole in {"full": self.config(), "quick": self.config(quick=True)}.items():
            if config == whole:
                return name
        full, given = asdict(self.config()), asdict(config)
        others = [f"{k}={told(v)}" for k, v in given.items() if v != full[k]]
        return "other parameters: " + ", ".join(others)

    def types(self) -> dict[str, Any]:
        """The type of every field of its Config."""
        config = self.about["Config"]
        hints = get_type_hints(config, dict(self.about))
        return {field.name: hints[field.name] for field in fields(config)}

    def fields(self) -> str:
        """Every field with its type and default, and what they mean."""
        config = self.about["Config"]()
        lines = [
            f"  {name} ({typed(kind)}) = {told(getattr(config, name))}"
            for name, kind in self.types().items()
        ]
        return "\n".join([f"{self.name}: {self.title}", *lines, "", inspect.getdoc(config) or ""])


def read(path: Path) -> Study:
    """A study's file: what it defines, nothing run."""
    sys.path.insert(0, str(HERE))  # for its `from study import ...`
    try:
        about = runpy.run_path(str(path), run_name=path.stem)
    finally:
        sys.path.remove(str(HERE))
    return Study(path, (about["__doc__"] or path.stem).split("\n")[0].rstrip("."), about)


def files() -> list[Path]:
    """The files of all studies."""
    return [path for path in sorted(HERE.glob("*.py")) if path.name != "study.py"]


def named(name: str) -> Study:
    """The study of a name.

    Raises InvalidInput, which lists all names.
    """
    known = {path.stem: path for path in files()}
    near = get_close_matches(name, known, 1)
    if name not in known:
        fix = f"mfpde study {near[0]}" if near else "mfpde list"
        raise InvalidInput(f"there is no study {name}", f"there are {', '.join(known)}", fix)
    return read(known[name])


def parsed(text: str, kind: Any) -> Any:
    """A value of a plain type; a tuple's parts are separated by commas.

    Raises ValueError.
    """
    if get_origin(kind) is tuple:
        parts = [part for part in text.split(",") if part.strip()]
        if not parts:
            raise ValueError(text)
        return tuple(parsed(part, get_args(kind)[0]) for part in parts)
    if kind is bool:
        if text.strip().lower() not in WORDS:
            raise ValueError(text)
        return WORDS[text.strip().lower()]
    return kind(text)


def typed(kind: Any) -> str:
    """A field's type in words."""
    if get_origin(kind) is tuple:
        return f"{get_args(kind)[0].__name__}s, separated by commas"
    return kind.__name__


def told(value: Any) -> str:
    """A field's value, as --set takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


# What is written of it ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """A study that was run.

    Attributes:
        study: its file.
        config: with which parameters.
        data: all numbers; the parameters are attributes ``config_<field>``.
        checks: what was checked.
        pictures: figures as PNG, by name.
        drawings: the same as PDF.
        seconds: what it took.
    """

    study: Study
    config: Any
    data: xr.Dataset
    checks: Sequence[Check]
    pictures: Mapping[str, bytes]
    drawings: Mapping[str, bytes]
    seconds: float

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]


def perform(
    study: Study, config: Any, folder: Path | None, progress: Progress | None = None
) -> Result:
    """Run a study; with a folder, write it there as a whole or not at all.

    FOLDER/data.nc, figures/*.png and *.pdf, report.md, report.html, summary.json.

    Raises:
        AlreadyExists: when the folder exists.
        StorageError: when it cannot be written.
    """
    if folder is not None:
        refuse_existing(folder)
        try_out(folder)
    started = time.perf_counter()
    with blamed(study, config), styled():
        data = study.about["run"](config, progress or Progress())
        data = data.assign_attrs({f"config_{k}": stored(v) for k, v in asdict(config).items()})
        checks = study.about["checks"](data)
        drawn = study.about["figures"](data)
    pictures = {name: rendered(figure, "png") for name, figure in drawn.items()}
    drawings = {name: rendered(figure, "pdf") for name, figure in drawn.items()}
    taken = time.perf_counter() - started
    result = Result(study, config, data, checks, pictures, drawings, taken)
    if folder is not None:
        write(result, folder)
    return result


@contextmanager
def blamed(study: Study, config: Any) -> Iterator[None]:
    """Says of what goes wrong with a user's own parameters that it may be theirs."""
    try:
        yield
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        version = study.version_of(config)
        if version in ("full", "quick"):
            raise
        raise InvalidInput(
            f"{study.name} does not run with {version}",
            f"{type(error).__name__}: {error}",
            f"other values; mfpde study {study.name} --fields says what they mean",
        ) from error


def try_out(folder: Path) -> None:
    """Raise StorageError before anything is computed where a folder cannot be made."""
    beside = folder.with_name(folder.name + TEMPORARY)
    missing = [part for part in (beside, *beside.parents) if not part.exists()]
    with reported(folder, "permission there, or another --out"):
        make_all(beside)
        for part in missing:
            part.rmdir()


def refuse_existing(folder: Path) -> None:
    """Raise AlreadyExists for a folder that is there."""
    if folder.exists() or folder.is_symlink():
        why, fix = "a result is never overwritten", "another --out, or move it"
        raise AlreadyExists(f"{folder} exists", why, fix)


def stored(value: Any) -> Any:
    """A parameter as netCDF takes it."""
    if isinstance(value, tuple):
        return told(value) if any(isinstance(v, str) for v in value) else np.array(value)
    return int(value) if isinstance(value, bool) else value


def write(result: Result, folder: Path) -> None:
    """Everything of a result, under another name until it is whole."""
    beside = folder.with_name(folder.name + TEMPORARY)
    with reported(folder, "room or permission, or another --out"):
        shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
        make_all(beside)
        try:
            mf.export(result.data, beside / "data.nc")
            write_all(beside, contents(result))
            refuse_existing(folder)
            rename(beside, folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        force_names(folder.parent)


def contents(result: Result) -> dict[str, bytes]:
    """Every file but the data, by its name in the folder."""
    texts = {
        SUMMARY: json.dumps(summary(result), indent=1, ensure_ascii=False) + "\n",
        "report.md": report(result),
        "report.html": html_page(page(result)),
    }
    return (
        {name: text.encode() for name, text in texts.items()}
        | {f"figures/{name}.png": data for name, data in result.pictures.items()}
        | {f"figures/{name}.pdf": data for name, data in result.drawings.items()}
    )


def summary(result: Result) -> dict[str, Any]:
    """What a program reads of a result, and all that the gallery keeps of it."""
    return {
        "study": result.study.name,
        "claim": asdict(result.study.claim),
        "config": asdict(result.config),
        "checks": [
            {k: finite(v) for k, v in asdict(check).items()} | {"passed": check.passed}
            for check in result.checks
        ],
        "figures": list(result.pictures),
        "made": made(result),
    }


def finite(value: Any) -> Any:
    """A value as JSON takes it: what is infinite, or no number, is null."""
    return value if isinstance(value, str) else float(value) if math.isfinite(value) else None


def made(result: Result) -> dict[str, str]:
    """With what, and how long it took."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    return {
        "software": f"mfpde {mf.__version__}",
        "with": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "time taken": f"{result.seconds:.1f} s",
    }


def asked(result: Result) -> dict[str, str]:
    """The claim and the parameters, line by line."""
    claim = result.study.claim
    about = {"claim": claim.statement, "stated in": claim.reference, "standing": claim.standing}
    about["version"] = result.study.version_of(result.config)
    return about | {field: told(value) for field, value in asdict(result.config).items()}


def table(checks: Sequence[Check]) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    rows = [[c.name, f"{c.value:.4g}", c.bound, "yes" if c.passed else "NO"] for c in checks]
    return ["check", "value", "bound", "passed"], rows


def opening(result: Result) -> str:
    """What is found: by this run, and by the full version where this is another."""
    verdict, version = result.study.claim.verdict, result.study.version_of(result.config)
    if version == "full":
        return verdict
    passed = len(result.checks) - len(result.failed)
    this = f"This run ({version}) passed {passed} of {len(result.checks)} checks."
    return f"{this} The full version finds: {verdict}"


def words(name: str) -> str:
    """A figure's caption."""
    return name.replace("_", " ").capitalize()


def page(result: Result) -> Page:
    """The report as a page."""
    passed = len(result.checks) - len(result.failed)
    caption = f"{passed} of {len(result.checks)} checks passed."
    return Page(
        result.study.title,
        opening(result),
        asked(result),
        [Table(caption, *table(result.checks))],
        [Picture(png, f"{words(name)}.", words(name)) for name, png in result.pictures.items()],
        made(result),
    )


def report(result: Result) -> str:
    """The report as Markdown."""
    header, rows = table(result.checks)
    return "\n".join(
        [
            f"# {result.study.title}",
            "",
            opening(result),
            "",
            *listed(asked(result)),
            "",
            "## Checks",
            "",
            *markdown(header, rows),
            "",
            *(f"![{words(name)}](figures/{name}.png)\n" for name in result.pictures),
            "## How it was made",
            "",
            *listed(made(result)),
            "",
        ]
    )


def listed(pairs: Mapping[str, str]) -> list[str]:
    """Names and values as a list in Markdown."""
    return [f"- **{name}**: {value}" for name, value in pairs.items()]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


# The gallery --------------------------------------------------------------------------------------

PREFACE = """# Studies

The claims of the theory, each stated, measured and pictured by one file. `mfpde list` names them,
`mfpde study NAME` runs one and writes its data, figures and report; `--quick` runs a small version,
`--fields` lists the parameters and `--set FIELD=VALUE` changes one. What a study holds is said at
the top of [study.py](study.py); [bench](bench) measures speed. This page is written by
`python studies/study.py gallery FOLDER ...` from the folders of full runs, and without folders
from what it took from them before.
"""


def collect(folder: Path) -> None:
    """Take a full run's checks and its first figure into the gallery.

    Raises InvalidInput where the folder holds no result of a study, or one of other parameters.
    """
    if not (folder / SUMMARY).is_file():
        why = f"there is no {SUMMARY} in it"
        raise InvalidInput(f"{folder} holds no result of a study", why, "mfpde study NAME")
    record = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    study = named(record.get("study", ""))
    if record["config"] != as_kept(study.config()):
        why = "the gallery shows full versions, as they are by default"
        raise InvalidInput(f"{folder} has other parameters", why, f"mfpde study {study.name}")
    del record["claim"]  # the file tells it
    GALLERY.mkdir(exist_ok=True)
    first = (folder / "figures" / f"{record['figures'][0]}.png").read_bytes()
    (GALLERY / f"{study.name}.png").write_bytes(small(first))
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (GALLERY / f"{study.name}.json").write_text(text, encoding="utf-8")


def as_kept(config: Any) -> dict[str, Any]:
    """Parameters as JSON gives them back."""
    return json.loads(json.dumps(asdict(config)))


def small(png: bytes) -> bytes:
    """The same picture in 64 colours, and no wider than makes it small."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for width in WIDTHS:
        size = width, round(width * picture.height / picture.width)
        stream = io.BytesIO()
        shrunk = picture.resize(size, Image.Resampling.LANCZOS)
        shrunk.quantize(64).save(stream, "PNG", optimize=True)
        if len(stream.getvalue()) <= SMALL:
            break
    return stream.getvalue()


def gallery() -> str:
    """README.md: every study with its claim, verdict, picture and command."""
    return "\n".join([PREFACE, *(entry(read(path)) for path in files())])


def entry(study: Study) -> str:
    """A study's part of the gallery."""
    claim = study.claim
    kept = GALLERY / f"{study.name}.json"
    lines = [
        f"## [{study.name}]({study.name}.py): {study.title}\n",
        f"**Claim** ({claim.standing}). {claim.statement} *{claim.reference}*\n",
        f"**Verdict.** {claim.verdict}\n",
    ]
    if kept.is_file():
        record = json.loads(kept.read_text(encoding="utf-8"))
        passed = sum(check["passed"] for check in record["checks"])
        lines += [f"![{study.title}](gallery/{study.name}.png)\n"]
        found = f"{passed} of {len(record['checks'])} checks passed"
        lines += [f"`mfpde study {study.name}` ({found}, {record['made']['time taken']})\n"]
    else:
        lines += [f"`mfpde study {study.name}` (not run in full yet)\n"]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """``gallery FOLDER ...``."""
    if not arguments or arguments[0] != "gallery":
        sys.exit("python studies/study.py gallery [FOLDER ...]")
    try:
        for folder in arguments[1:]:
            collect(Path(folder))
    except InvalidInput as error:
        sys.exit(str(error))
    README.write_text(gallery(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
