"""Every study runs in its small version and passes; what is written of one, and the commands."""

import json
import re
import runpy
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_origin

import pytest
import xarray as xr
from typer.testing import CliRunner, Result

from mfpde import catalogue, cli, signals

STUDIES = Path(__file__).parents[2] / "studies"
STUDY = SimpleNamespace(**runpy.run_path(str(STUDIES / "study.py"), run_name="study"))
every_study = pytest.mark.parametrize("path", STUDY.files(), ids=lambda path: path.stem)
MOST_LINES = 450

TINY = '''"""A line through the origin. It is drawn, and its slope is checked."""
from dataclasses import dataclass
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from study import Check, Claim

CLAIM = Claim("Lines are straight.", "Euclid, Book I", "theorem", "They are | straight.")

@dataclass(frozen=True)
class Config:
    """Attributes: slope: of the line."""
    slope: float = 2.0
    points: int = 5
    wide: bool = False
    name: str = "line"
    at: tuple[float, ...] = (1.0, 2.0)

    @classmethod
    def quick(cls):
        return cls(points=3)

def run(config, progress):
    x = np.array([float(k) for k in progress(range(config.points), "points")])
    return xr.Dataset({"y": ("x", config.slope * x)}, coords={"x": x})

def figures(data):
    figure = Figure()
    figure.subplots().plot(data.x, data.y)
    return {"the_line": figure}

def checks(data):
    slope = float(data.y[1])
    asked = float(data.attrs["config_slope"])
    return [Check("slope", slope, asked, asked), Check("steep", slope, 1.0), Check("low", slope)]
'''


# Every study --------------------------------------------------------------------------------------


@every_study
def test_its_small_version_is_written_and_passes(path, tmp_path):
    """Everything that the full version writes, too."""
    study = STUDY.read(path)
    result = STUDY.perform(study, study.config(quick=True), tmp_path / "out")
    assert result.checks
    names = [check.name for check in result.checks]
    assert len(set(names)) == len(names)
    assert not result.failed
    assert result.pictures
    assert (tmp_path / "out" / "data.nc").is_file()


@every_study
def test_it_says_what_it_is(path):
    study = STUDY.read(path)
    assert path.stem.isidentifier()
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert all(len(text) > 5 for text in vars(study.claim).values())
    assert study.claim.standing in STUDY.STANDINGS
    assert len(study.title) <= 100


@every_study
def test_its_parameters_can_be_given_as_text(path):
    study = STUDY.read(path)
    for name, kind in study.types().items():
        parts = get_args(kind) if get_origin(kind) is tuple else (kind,)
        assert set(parts) <= {int, float, bool, str, ...}, f"{name}: {kind}"
        default = getattr(study.config(), name)
        assert study.setting(f"{name}={STUDY.told(default)}") == (name, default)


def test_the_gallery_is_drawn_from_the_studies():
    """README.md: python studies/study.py gallery."""
    assert STUDY.README.read_text(encoding="utf-8") == STUDY.gallery()


@pytest.mark.parametrize("kept", sorted(STUDY.GALLERY.glob("*")), ids=lambda path: path.name)
def test_what_the_gallery_keeps_is_of_the_studies_as_they_are(kept):
    study = STUDY.named(kept.stem)
    if kept.suffix == ".json":
        record = json.loads(kept.read_text(encoding="utf-8"))
        assert record["config"] == STUDY.as_kept(study.config())
        assert all(check["passed"] for check in record["checks"])
    else:
        assert kept.stat().st_size <= STUDY.SMALL


# What is written of one ---------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A folder of studies with a single one, and an empty working folder."""
    folder = tmp_path / "studies"
    folder.mkdir()
    shutil.copy(STUDIES / "study.py", folder)
    (folder / "tiny.py").write_text(TINY)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(catalogue, "studies_folder", lambda: folder)
    return catalogue.studies()


def command(*words: str) -> Result:
    return CliRunner().invoke(cli.app, words)


def refused(result: Result, code: int, *words: str) -> None:
    """The exit code, and one paragraph with these words on standard error."""
    assert result.exit_code == code, result.output
    assert 0 < len(result.stderr.strip().splitlines()) <= 4
    for word in words:
        assert word in result.stderr


def test_a_check_is_passed_between_its_bounds():
    Check = STUDY.Check
    assert Check("inside", 1.0, 0.0, 2.0).passed
    assert Check("at an end", 1.0, 1.0, 1.0).passed
    assert not Check("below", -1.0, 0.0).passed
    assert not Check("above", 3.0, high=2.0).passed
    assert not Check("no number", float("nan")).passed
    assert Check("between", 1.0, 0.5, 2.0).bound == "≥ 0.5 and ≤ 2"
    assert Check("equal", 1.0, 1.0, 1.0).bound == "= 1"


def test_a_standing_is_one_of_three():
    with pytest.raises(ValueError, match="standing"):
        STUDY.Claim("It holds.", "Here", "well known", "It does.")


def test_data_figures_and_report_are_written(tiny):
    result = command("study", "tiny", "--quick", "--out", "deep/out")
    assert result.exit_code == 0, result.output
    assert re.search(r"slope +2 +(= 2) +yes", result.stdout)
    folder = Path("deep/out")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    figures = {"figures/the_line.png", "figures/the_line.pdf"}
    assert names == {"data.nc", "report.md", "report.html", "summary.json"} | figures
    with xr.open_dataset(folder / "data.nc") as data:
        assert data.y.values.tolist() == [0.0, 2.0, 4.0]
        assert data.attrs["config_at"].tolist() == [1.0, 2.0]
        assert data.attrs["config_wide"] == 0
    for text in ((folder / name).read_text() for name in ("report.md", "report.html")):
        for words in ("A line through the origin", "Lines are straight", "Euclid", "theorem"):
            assert words in text
        assert "numpy" in text
    record = json.loads((folder / "summary.json").read_text())
    assert record["config"]["points"] == 3
    low = {check["name"]: check["low"] for check in record["checks"]}
    assert low == {"slope": 2.0, "steep": 1.0, "low": None}
    assert [path.name for path in Path("deep").iterdir()] == ["out"]


def test_parameters_are_set_by_their_types(tiny):
    settings = ("slope=3.5", "points=4", "wide=yes", "name=a=b", "at=1,2.5,4")
    config = tiny.named("tiny").config(settings)
    assert vars(config) == {
        "slope": 3.5,
        "points": 4,
        "wide": True,
        "name": "a=b",
        "at": (1.0, 2.5, 4.0),
    }


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("colour=red", ["slope (float)", "at (floats, separated by commas)"]),
        ("points", ["--set FIELD=VALUE"]),
        ("points=2.5", ["points is int"]),
        ("wide=perhaps", ["wide is bool"]),
        ("at=1,two", ["at is floats"]),
    ],
)
def test_a_setting_without_meaning_is_refused(tiny, setting, words):
    refused(command("study", "tiny", "--set", setting), 2, setting, *words)
    assert not list(Path().iterdir())


def test_an_unknown_name_lists_the_others(tiny):
    refused(command("study", "huge"), 2, "no study huge", "tiny")


def test_a_failed_check_is_named_and_the_report_written(tiny):
    result = command("study", "tiny", "--quick", "--set", "slope=0.5")
    refused(result, 1, "failed: steep")
    assert "NO" in Path("runs/tiny-1/report.md").read_text()


def test_a_result_in_the_way_is_left_alone(tiny):
    Path("out").mkdir()
    refused(command("study", "tiny", "--quick", "--out", "out"), 4, "out exists")
    assert not list(Path("out").iterdir())
    assert command("study", "tiny", "--quick").exit_code == 0
    assert command("study", "tiny", "--quick").exit_code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["tiny-1", "tiny-2"]


def test_what_is_interrupted_leaves_nothing(tiny, monkeypatch):
    def interrupted(result: Any) -> Sequence[Any]:
        raise KeyboardInterrupt

    study = tiny.named("tiny")
    monkeypatch.setitem(tiny.perform.__globals__, "contents", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny.perform(study, study.config(quick=True), Path("out"))
    assert not list(Path().iterdir())


def test_a_signal_ends_a_study_with_nothing_written(tiny, monkeypatch):
    path = tiny.HERE / "tiny.py"
    raises = "import os, signal\n    os.kill(os.getpid(), signal.SIGTERM)\n    x ="
    path.write_text(TINY.replace("x =", raises, 1))
    before = {number: signal.getsignal(number) for number in signals.QUIT}
    monkeypatch.setattr(signals, "received", signals.Received())
    signals.install(loading=False)
    try:
        refused(command("study", "tiny", "--quick"), 143, "SIGTERM was received")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert not list(Path().iterdir())


def test_studies_are_listed_and_their_parameters_too(tiny):
    listed = command("list")
    assert listed.exit_code == 0
    assert "tiny: A line through the origin" in listed.stdout
    assert "(theorem)" in listed.stdout
    assert "They are | straight." in listed.stdout
    fields = command("study", "tiny", "--fields")
    assert "points (int) = 5" in fields.stdout
    assert "slope: of the line" in fields.stdout
    assert not list(Path().iterdir())


def test_bars_are_shown_at_a_terminal_alone(tiny, capsys):
    assert list(tiny.Progress()(range(3), "steps")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    progress = tiny.Progress(shown=True)
    pairs = [(i, j) for i in progress(range(2), "outer") for j in progress(range(2), "inner")]
    assert pairs == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_without_sources_it_is_said_where_studies_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "__file__", str(tmp_path / "mfpde" / "catalogue.py"))
    refused(command("list"), 2, "come with the sources")
    shutil.copytree(STUDIES, tmp_path / "studies", ignore=shutil.ignore_patterns("bench"))
    assert catalogue.studies_folder() == tmp_path / "studies"


# The gallery --------------------------------------------------------------------------------------


def test_the_gallery_takes_full_results_alone(tiny, capsys):
    assert command("study", "tiny", "--out", "full").exit_code == 0
    assert command("study", "tiny", "--quick", "--out", "quick").exit_code == 0
    assert "not run in full yet" in tiny.gallery()
    tiny.main(["gallery", "full"])
    text = tiny.README.read_text()
    assert text == tiny.gallery()
    assert "3 of 3 checks passed" in text
    assert (tiny.GALLERY / "tiny.png").stat().st_size <= tiny.SMALL
    for folder, words in (("quick", "other parameters"), ("nothing", "no result of a study")):
        with pytest.raises(SystemExit, match=words):
            tiny.main(["gallery", folder])
