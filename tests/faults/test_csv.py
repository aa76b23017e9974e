"""Malformed files and arguments of ``mfpde run``: refused in one paragraph, before any computing.

A generator with a fixed seed damages good tables in every way a table is damaged on its way here,
and draws arguments without meaning. ``MALFORMED_CALLS=400`` in the environment draws more of both.
Workers never start: where the command would begin to compute, the test fails.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mfpde import cli

CALLS = int(os.environ.get("MALFORMED_CALLS", "48"))
SEED = 20211
LONGEST = 1000  # characters of a paragraph

Table = list[list[str]]
Damage = Callable[[random.Random, Table], "bytes | str"]


class BeginsToCompute(Exception):
    """The arguments were accepted."""


@contextmanager
def no_workers(jobs: int) -> Iterator[None]:
    raise BeginsToCompute
    yield


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "workers", no_workers)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, cli.spread(["run", *arguments]))


def contents(folder: Path) -> dict[str, bytes | None]:
    """What lies in a folder: every path, and the bytes of files."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(result: Result, codes: tuple[int, ...] = (2,), *places: str) -> None:
    """An exit code, and one paragraph on standard error that names one of the places."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in codes, result.stderr
    assert not result.stdout
    assert 0 < len(result.stderr.strip()) < LONGEST
    assert len(result.stderr.strip().splitlines()) <= 4
    assert "Traceback" not in result.stderr
    assert any(place in result.stderr for place in places), result.stderr


# Files --------------------------------------------------------------------------------------------


def good(rng: random.Random) -> Table:
    """A header and some rows of three distinct columns."""
    rows = rng.randint(3, 30)
    columns = [rng.sample(range(-999, 999), rows) for _ in range(3)]
    numbers = [[f"{v / 7:.6g}" for v in row] for row in zip(*columns, strict=True)]
    return [["x", "z", "y"], *numbers]


def text(table: Table, separator: str = ",") -> str:
    return "".join(separator.join(row) + "\n" for row in table)


def cell(rng: random.Random, table: Table, value: str) -> str:
    """One number of a column that is read, replaced."""
    table[rng.randrange(1, len(table))][rng.choice([0, 2])] = value
    return text(table)


def not_a_number(rng: random.Random, table: Table) -> str:
    return cell(rng, table, rng.choice(["four", "", " ", "1_0", "0x1p3", "1e", "--1", "1 2", "½"]))


def not_finite(rng: random.Random, table: Table) -> str:
    return cell(rng, table, rng.choice(["nan", "NaN", "inf", "-Infinity", "1e999", "NA", "null"]))


def huge_field(rng: random.Random, table: Table) -> str:
    return cell(rng, table, "9" * rng.randint(150_000, 300_000))


def decimal_comma(rng: random.Random, table: Table) -> str:
    return cell(rng, table, "3,5")


def injected(rng: random.Random, table: Table) -> str:
    return cell(rng, table, rng.choice(["<script>alert(1)</script>", "=1+1", "'; --", "${HOME}"]))


def ragged(rng: random.Random, table: Table) -> str:
    row = table[rng.randrange(1, len(table))]
    row[:] = rng.choice([row[:2], row[:1], [*row, "1"], [*row, ""], []])
    return text(table)


def renamed(rng: random.Random, table: Table) -> str:
    table[0][rng.choice([0, 2])] = rng.choice(["X", "yy", "", "x y", "ξ", "x\u200b", "<b>"])
    return text(table)


def doubled(rng: random.Random, table: Table) -> str:
    table[0][1] = rng.choice(["x", "y", " x "])
    return text(table)


def headless(rng: random.Random, table: Table) -> str:
    return text(table[1:])


def short(rng: random.Random, table: Table) -> str:
    return text(table[: rng.choice([0, 1, 2])])


def blank(rng: random.Random, table: Table) -> str:
    return rng.choice(["\n", " ", "\n\n\n", "\ufeff", ",,\n", "\t\n"])


def separated_otherwise(rng: random.Random, table: Table) -> str:
    return text(table, rng.choice([";", "\t", "|", " "]))


def unbalanced(rng: random.Random, table: Table) -> str:
    return cell(rng, table, rng.choice(['"1', '1"', '"1"2', '"', '1""2', '"1,2', '"""1"']))


def constant(rng: random.Random, table: Table) -> str:
    column = rng.choice([0, 2])
    for row in table[1:]:
        row[column] = "1.5"
    return text(table)


def out_of_range(rng: random.Random, table: Table) -> str:
    """Finite numbers whose squares are not, or are 0."""
    column, size = rng.choice([0, 2]), rng.choice(["1e308", "1e200", "5e-324", "1e-200"])
    for k, row in enumerate(table[1:]):
        row[column] = size if k % 2 else "-" + size
    return text(table)


def nul(rng: random.Random, table: Table) -> bytes:
    whole = bytearray(text(table).encode())
    whole.insert(rng.randrange(len(whole)), 0)
    return bytes(whole)


def other_encoding(rng: random.Random, table: Table) -> bytes:
    return text(table).encode(rng.choice(["utf-16", "utf-16-le", "utf-32"]))


def latin(rng: random.Random, table: Table) -> bytes:
    table[0][1] = "größe"
    return text(table).encode("latin-1")


def junk(rng: random.Random, table: Table) -> bytes:
    """Half of it garbled, or of another format."""
    magic = rng.choice([b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\x1f\x8b\x08", b"\x93NUMPY", b""])
    return magic + rng.randbytes(rng.randint(40, 400))


DAMAGES: tuple[Damage, ...] = (
    not_a_number, not_finite, huge_field, decimal_comma, injected, ragged, renamed, doubled,
    headless, short, blank, separated_otherwise, unbalanced, constant, out_of_range, nul,
    other_encoding, latin, junk,
)  # fmt: skip


def malformed_file(number: int) -> tuple[Damage, bytes]:
    rng = random.Random(SEED + number)
    damage = DAMAGES[number % len(DAMAGES)]
    made = damage(rng, good(rng))
    return damage, made.encode() if isinstance(made, str) else made


@pytest.mark.parametrize("number", range(CALLS // 2))
def test_a_malformed_file_is_refused(here, number):
    damage, content = malformed_file(number)
    Path("data.csv").write_bytes(content)
    result = call("data.csv", "--x", "x", "--y", "y", "--out", "out")
    refused(result, (2,), "data.csv", "column 'x'", "column 'y'")
    assert contents(here) == {str(here / "data.csv"): content}, damage.__name__


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_good_file_is_accepted(here, encoding, newline):
    """The damages are what is refused: the tables themselves, with or without a mark, are not."""
    for number in range(4):
        table = good(random.Random(number))
        Path("data.csv").write_bytes(text(table).replace("\n", newline).encode(encoding))
        result = call("data.csv", "--x", "x", "z", "--y", "y", "--out", "out")
        assert isinstance(result.exception, BeginsToCompute), result.stderr
        assert not Path("out").exists()


def test_a_script_may_name_a_column(here):
    """It is escaped where it is shown: see tests/test_cli.py on the report."""
    table = good(random.Random(0))
    table[0] = ["<script>alert(1)</script>", "../../z", "y"]
    Path("data.csv").write_text(text(table))
    result = call("data.csv", "--x", "<script>alert(1)</script>", "../../z", "--y", "y")
    assert isinstance(result.exception, BeginsToCompute), result.stderr
    assert [path.name for path in here.iterdir()] == ["data.csv"]


# Arguments ----------------------------------------------------------------------------------------

BAD_VALUES = {
    "--cells": ["0", "-3", "1", "3", "1e9", "abc", "12.5", "nan", "", "1000000000", "9" * 40,
                "2000000", "5000"],
    "--horizon": ["nan", "-1", "inf", "-inf", "0", "-0.0", "soon", "", "1e308", "1e999", "1e7"],
    "--particles": ["0", "-1", "ten", "1e3", "10.5", "", ",", "999999999", "9" * 40, "10 nan",
                    "10;20", "0x10", "١٠x"],
    "--seeds": ["0", "-1", "two", "1.5", "", "nan", "100000", "9" * 40],
    "--ridge": ["-1", "nan", "inf", "-inf", "small", "", "1,5", "1e999"],
    "--entropy": ["-1", "nan", "inf", "small", "", "0.1"],
    "--activation": ["swish", "", "TANH", "heaviside", "tanh ", "../tanh", "<script>"],
    "--loss": ["absolute", "", "Square", "square,logistic", "logistic"],
    "--method": ["spectral", "", "MUSCL", "fipy", "muscl()", "__import__"],
    "--x": ["q", "", "X", "y", "x,z", "<script>"],
    "--y": ["q", "", "Y", "x", "0"],
}  # fmt: skip
PLACES = {  # what else names an option
    "--x": ["column", "which columns", "--x"],
    "--y": ["column", "which columns", "--y"],
    "--cells": ["cells", "a grid of"],
    "--loss": ["--loss", "the loss logistic"],
}
BAD_FLAGS = [["--frobnicate"], ["--bias=maybe"], ["other.csv"], ["--cells"], ["-q"], ["--out"]]


def malformed_arguments(number: int) -> tuple[str, list[str]]:
    """One bad argument among good ones: its name, and all of them."""
    rng = random.Random(SEED - number)
    values = {"--x": "x", "--y": "y", "--cells": "8", "--particles": "5", "--seeds": "1"}
    chosen = [*BAD_VALUES, "flag"][number % (len(BAD_VALUES) + 1)]
    if chosen == "flag":
        flag = rng.choice(BAD_FLAGS)
        good_ones = [word for pair in values.items() for word in pair]
        return flag[0].split("=")[0], ["data.csv", *good_ones, *flag]
    values[chosen] = BAD_VALUES[chosen][(number // (len(BAD_VALUES) + 1)) % len(BAD_VALUES[chosen])]
    pairs = list(values.items())
    rng.shuffle(pairs)
    return chosen, ["data.csv", *(word for pair in pairs for word in pair)]


@pytest.mark.parametrize("number", range(CALLS - CALLS // 2))
def test_arguments_without_meaning_are_refused(here, number):
    Path("data.csv").write_text(text(good(random.Random(number))))
    before = contents(here)
    name, arguments = malformed_arguments(number)
    refused(call(*arguments), (2,), *PLACES.get(name, [name.strip("-")]))
    assert contents(here) == before


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("folder", "folder is not a regular file"),
        ("absent.csv", "no file absent.csv"),
        ("file/data.csv", "file/data.csv"),
        ("link", "no file link"),
        ("/dev/zero", "not a regular file"),
        ("a\0b", "null byte"),
    ],
)
def test_what_is_no_file_is_refused(here, data, named):
    Path("folder").mkdir()
    Path("folder/notes.txt").write_text("mine")
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    before = contents(here)
    refused(call(data, "--x", "x", "--y", "y"), (2,), named)
    assert contents(here) == before


@pytest.mark.parametrize(
    ("out", "codes", "named"),
    [
        ("folder", (4,), "folder exists"),
        ("file", (4,), "file exists"),
        ("link", (4,), "link exists"),  # though it leads nowhere
        (".", (4,), ". exists"),
        ("new/..", (4,), ". exists"),
        ("", (4,), ". exists"),
        ("file/new", (5,), "file/new"),
        ("/proc/new", (5,), "/proc/new"),
        ("n" * 300, (5,), "File name too long"),
        ("a\0b", (2,), "--out"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_at_once(here, out, codes, named):
    Path("folder").mkdir()
    Path("folder/notes.txt").write_text("mine")
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    Path("data.csv").write_text(text(good(random.Random(0))))
    before = contents(here)
    refused(call("data.csv", "--x", "x", "--y", "y", "--out", out), codes, named)
    assert contents(here) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to this user")
def test_a_closed_folder_is_refused_at_once(here):
    Path("closed").mkdir(mode=0o500)
    refused(call("--out", "closed/new"), (5,), "closed/new")
