"""The command line: what it refuses and how, what it writes, and that it goes on where it was left.

What signals do is in tests/faults/test_signals.py.
"""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner, Result

import mfpde as mf
import particle_ref as pr
from mfpde import cli, experiment, question, signals
from mfpde.loop.files import locked
from mfpde.measures import as_measure

SMALL = ["--cells", "12", "--particles", "5 20", "--seeds", "3", "--no-bias", "--horizon", "0.4"]


class Here(Executor):
    """An executor that calls at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def at_once(jobs: int) -> Iterator[Executor]:
    yield Here()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no further processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "workers", at_once)
    return tmp_path


def command(*words: str) -> Result:
    return CliRunner().invoke(cli.app, cli.spread(words))


def call(*arguments: str) -> Result:
    return command("run", *arguments)


def refused(result: Result, code: int, *words: str) -> None:
    """The exit code, and one paragraph with these words on standard error alone."""
    assert result.exit_code == code, result.output
    assert 0 < len(result.stderr.strip().splitlines()) <= 4
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_noisy_particles_follow_a_density_with_entropy(here: Path) -> None:
    """λ > 0 chooses the method that diffuses, and particles under noise; they agree as m^-1/2.

    Root mean squares over 8 seeds of gaps with one degree of freedom, expected in the ratio 5.7:
    the wider networks are the worse ones in fewer than 3e-5 of all draws.
    """
    asked = ["--entropy", "0.1", "--ridge", "0.2", "--no-bias", "--cells", "32", "--horizon", "1"]
    result = call(
        *asked, "--particles", "50", "--particles", "1600", "--seeds", "8", "--out", "out"
    )
    assert result.exit_code == 0, result.output
    assert "scharfetter_gummel" in result.stdout
    assert "and their noise" in result.stdout.replace("\n", " ")
    with xr.open_zarr(here / "out" / "comparison.zarr") as gaps:
        few, many = (gaps.prediction_gap.isel(time=-1) ** 2).mean("seed").values
    assert many < few
    record = json.loads((here / "out" / "summary.json").read_text())
    assert "Langevin" in record["made"]["particles"]


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["there is no file data.csv"]),
        ("", ["data.csv is empty"]),
        ("x,z\n1,2\n3,4\n", ["no column 'y'", "x, z"]),
        ("x,y\n1,2\n3,four\n5,6\n", ["line 3", "column 'y'", "'four'"]),
        ("x,y\n1,2\nnan,4\n", ["line 3", "column 'x'", "finite"]),
        ("x,y\n1,2\n", ["1 row"]),
        ("x,y\n2,1\n2,3\n2,4\n", ["column 'x'", "constant"]),
        ("x,y\n1,3\n2,3\n3,3\n", ["column 'y'", "constant"]),
        ("x;y\n1;2\n3;4\n", ["semicolons"]),
    ],
    ids=["missing", "empty", "column", "text", "nan", "one row", "x", "y", "semicolons"],
)
def test_a_malformed_file_is_refused_and_nothing_written(here, text, words):
    if text is not None:
        Path("data.csv").write_text(text)
    before = sorted(here.iterdir())
    refused(call("data.csv", "--x", "x", "--y", "y", *SMALL), 2, *words)
    assert sorted(here.iterdir()) == before


THREE = "p,q,r,y\n1,2,3,1\n2,1,5,-1\n4,4,4,1\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--x", "p"], ["DATA.csv"]),
        (["data.csv", "--x", "p"], ["--y COL"]),
        (["data.csv", "--y", "y"], ["--x COL"]),
        (["data.csv", "--x", "p", "q", "r", "--y", "y"], ["5 coordinates", "--no-bias"]),
        (["data.csv", "--x", "p", "--y", "q", "--loss", "logistic"], ["logistic", "-1 or +1"]),
        (["--activation", "swish"], ["swish", "tanh"]),
        (["--activation", "heaviside"], ["one of", "tanh"]),
        (["--loss", "absolute"], ["absolute", "logistic"]),
        (["--method", "spectral"], ["spectral", "upwind"]),
        (["--entropy", "0.1", "--ridge", "1", "--method", "muscl"], ["--entropy 0.1", "λΔρ"]),
        (["--entropy", "0.1"], ["--entropy 0.1", "--ridge"]),
        (["--entropy", "-1"], ["λ ≥ 0"]),
        (["--ridge", "-1"], ["ridge"]),
        (["--horizon", "-1"], ["--horizon -1", "above 0"]),
        (["--cells", "0", "--horizon", "0.1"], ["cells = 0"]),
        (["--particles", "10 ten"], ["--particles 10 ten"]),
        (["--particles", "0"], ["whole numbers"]),
        (["--seeds", "0"], ["--seeds"]),
    ],
    ids=" ".join,
)
def test_arguments_without_meaning_are_refused_and_nothing_written(here, arguments, words):
    Path("data.csv").write_text(THREE)
    refused(call(*arguments), 2, *words)
    assert [p.name for p in here.iterdir()] == ["data.csv"]


def test_a_result_in_the_way_is_left_alone(here):
    (here / "out").mkdir()
    (here / "out" / "note").write_text("mine")
    for out in ("out", ".", "/"):
        refused(call("--out", out, *SMALL), 4, f"{out} exists")
    assert (here / "out" / "note").read_text() == "mine"
    assert [p.name for p in here.iterdir()] == ["out"]


def left(folder: Path) -> set[str]:
    """Names of what a question left in its folder."""
    return {p.name for p in folder.iterdir()}


BEGUN = {".lock", "plan.json", "chosen.json", "density"}


def test_another_question_and_a_second_writer_are_refused(here, monkeypatch):
    monkeypatch.setattr(cli, "write", lambda outcome, folder: (folder / "done").touch())
    assert call("--out", "out", *SMALL).exit_code == 0
    refused(call("--out", "out", *SMALL, "--seeds", "4"), 4, "out exists", "seeds: 3, now 4")
    again = call("--out", "out", *SMALL)
    assert "holds the answer" in again.stdout
    assert again.exit_code == 0
    (here / "out" / "DONE").unlink()
    with locked(here / "out" / ".lock"):
        refused(call("--out", "out", *SMALL), 4, "another process")


def test_no_room_on_the_disk_is_told_and_keeps_the_density(here, monkeypatch):
    def full(outcome: object, folder: Path) -> None:
        (folder / "half").write_text("...")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cli, "write", full)
        refused(call("--out", "deep/out", *SMALL), 5, "No space left")
    assert left(here / "deep" / "out") == BEGUN
    monkeypatch.setattr(cli, "write", lambda outcome, folder: (folder / "done").touch())
    assert command("resume", "deep/out").exit_code == 0
    assert left(here / "deep" / "out") == BEGUN | {"done", "DONE"}


def test_what_comes_to_nothing_leaves_nothing(here, monkeypatch):
    def refuse(*arguments: object) -> None:
        raise mf.InvalidInput("no grid holds that")

    monkeypatch.setattr(mf, "fit_grid", refuse)
    refused(call("--out", "deep/out", *SMALL), 2, "no grid holds that")
    assert not list(here.iterdir())


def test_a_numerical_stop_of_particles_has_its_paragraph(here, monkeypatch):
    def stop(*arguments: object) -> None:
        raise pr.NumericalStop("a position is not finite", "the flow blew up")

    monkeypatch.setattr(experiment, "flow_of", stop)
    refused(call("--out", "out", *SMALL), 3, "a position is not finite", "the flow blew up")
    assert left(here / "out") == BEGUN


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            pr.InvalidInput("a cloud of nothing", "it has no mass"),
            ("a cloud of nothing", "no mass"),
        ),
        (MemoryError("cannot allocate"), ("out of memory: cannot allocate", "fewer --cells")),
    ],
    ids=["particles", "memory"],
)
def test_what_particles_refuse_and_what_does_not_fit(here, monkeypatch, error, words):
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(experiment, "flow_of", fail)
    refused(call("--out", "out", *SMALL), 2, *words)


# Boxes that leak --------------------------------------------------------------------------------


def tight(problem: mf.Problem, cells: int, horizon: float) -> mf.Grid:
    """A box that holds the law at time 0, but not for long."""
    return mf.Grid(**{c: mf.uniform(-5.2, 5.2, 24) for c in problem.coords})


LEAKY = ["--horizon", "6", "--particles", "5", "--seeds", "1", "--no-bias"]


def test_a_leaking_box_is_widened(here, monkeypatch):
    monkeypatch.setattr(mf, "fit_grid", tight)
    monkeypatch.setattr(cli, "write", lambda outcome, folder: written.append(outcome))
    written: list[experiment.Outcome] = []
    result = call(*LEAKY)
    assert result.exit_code == 0, result.output
    assert 1 <= result.stdout.count("again") <= experiment.WIDER_BOXES
    assert "MassEscaped" in result.stdout
    run = written[0].run
    assert run.identical(mf.load(next(here.glob("runs/*/density"))))
    assert run.a.attrs["low"] < -5.2
    assert float(run.escaped[-1]) <= 1e-6
    assert run.sizes["a"] == 24


def test_a_box_that_leaks_for_good_is_a_stop_that_keeps_the_run(here, monkeypatch):
    monkeypatch.setattr(mf, "fit_grid", tight)
    monkeypatch.setattr(experiment, "WIDER_BOXES", 0)
    for _ in range(2):  # who goes on comes to the same end
        refused(call("--out", "out", *LEAKY), 3, "MassEscaped", "until t =", "in out/density")
    assert left(here / "out") == BEGUN
    kept = mf.load("out/density")
    assert 0 < float(kept.time[-1]) < 6
    assert float(kept.mass[-1]) == pytest.approx(1, abs=1e-5)


# What is written --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A whole run on a user's file in processes of its own: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    rows = "".join(f"{t},{np.sin(t)}\n" for t in np.linspace(0, 5, 12))
    (folder / "<i>sine.csv").write_text(f"time $ <b>,height\n{rows}")
    code = "from mfpde.cli import main; main()"
    columns = ["--x", "time $ <b>", "--y", "height", "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "<i>sine.csv", *columns, *SMALL],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return folder / "out", done.stdout


def test_the_folder_is_whole(result):
    folder, _ = result
    assert {p.name for p in folder.parent.iterdir()} == {"<i>sine.csv", "out"}
    assert {p.name for p in folder.iterdir()} == {
        "density", "flows", "comparison.zarr", "comparison.csv", "summary.json", "figures",
        "report.html", "plan.json", "chosen.json", ".lock", "DONE",
    }  # fmt: skip
    assert {p.name for p in (folder / "figures").iterdir()} == {
        f"{name}.{form}"
        for name in ("marginals", "fit", "history", "gap", "distances", "budget")
        for form in ("png", "pdf")
    }


def test_the_plan_and_the_findings_are_printed(result):
    folder, printed = result
    for line in ("box ", "12 × 12 = 144", "muscl", "t = 0.4: as asked", "5, 20 by 3 seeds"):
        assert line in printed
    found = json.loads((folder / "summary.json").read_text())["found"]
    assert f"{found['risk'][1]:.4g}" in printed
    assert "own cells" in printed
    assert " ".join(printed.split()).count("the gap of 20 neurons at t = 0.4") == 1
    assert found["budget"]["sampling"]["low"] < found["budget"]["sampling"]["high"]
    assert "particles for 0.01" in (folder / "report.html").read_text()
    assert "seconds: density" in printed


def test_what_is_stored_is_what_was_compared(result):
    folder, _ = result
    run = mf.load(folder / "density")
    gaps = xr.open_zarr(folder / "comparison.zarr", consolidated=False).load()
    flows = xr.open_zarr(folder / "flows" / "m20.zarr", consolidated=False).load()
    assert flows.sizes == {"seed": 3, "time": 4, "particle": 20, "coord": 2, "sample": 12}
    last = mf.compare(run, flows.isel(seed=1), only=("prediction_gap", "w1_a")).isel(time=-1)
    here = gaps.sel(width=20).isel(seed=1, time=-1)
    assert float(here.prediction_gap) == pytest.approx(float(last.prediction_gap), rel=1e-12)
    assert float(here.w1_a) == pytest.approx(float(last.w1_a), abs=1e-4)  # without the dust
    own = xr.open_zarr(folder / "flows" / "own_cells.zarr", consolidated=False).load()
    points, weights = as_measure(own.isel(seed=0, time=0))
    assert 1 - 5e-6 <= weights.sum() <= 1
    assert len(points) == gaps.attrs["own_particles"]
    with (folder / "comparison.csv").open() as file:
        (row,) = (r for r in csv.DictReader(file) if (r["width"], r["seed"]) == ("20", "1"))
    assert float(row["prediction_gap"]) == pytest.approx(float(here.prediction_gap), rel=1e-12)


def test_users_text_is_inert_in_the_report(result):
    folder, _ = result
    page = (folder / "report.html").read_text()
    assert "time $ &lt;b&gt;" in page
    assert "&lt;i&gt;sine" in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_results_do_not_depend_on_the_processes(result, here, monkeypatch):
    monkeypatch.setattr(cli, "write", lambda outcome, folder: written.append(outcome))
    written: list[experiment.Outcome] = []
    source = str(result[0].parent / "<i>sine.csv")
    assert call(source, "--x", "time $ <b>", "--y", "height", *SMALL).exit_code == 0
    stored = xr.open_zarr(result[0] / "comparison.zarr", consolidated=False).load()
    xr.testing.assert_allclose(written[0].gaps, stored, rtol=1e-9, atol=1e-9)


def test_without_out_the_next_free_number_is_taken(here, monkeypatch):
    monkeypatch.setattr(cli, "write", lambda outcome, folder: (folder / "done").touch())
    for _ in range(2):
        assert call(*SMALL).exit_code == 0
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["motorcycle-1", "motorcycle-2"]


# What is stored ---------------------------------------------------------------------------------


@pytest.fixture
def stored(result, tmp_path) -> Path:
    """A copy of the whole run."""
    return Path(shutil.copytree(result[0], tmp_path / "copy"))


def flow_in(folder: Path) -> Path:
    """A particle run that was stopped after two of four snapshots."""
    problem = mf.two_layer([0.0, 1.0], [0.0, 1.0])
    cloud, times = pr.sample(problem, 7), [0, 0.1, 0.2, 0.3]
    for _ in range(2):
        with pytest.raises(pr.Stopped):
            pr.run(problem, cloud, pr.Descent(0.1), times, mf.store(folder), max_seconds=1e-12)
    return folder


def test_show_says_what_there_is(stored, tmp_path):
    run = mf.load(stored / "density")
    energy = f"energy     {float(run.energy[0]):.6g} -> {float(run.energy[-1]):.6g}"
    for folder, words in {
        stored: ("mfpde run", "x time $ <b>", "seeds 3", "21 of 21 committed, finished", energy),
        stored / "density": ("mean-field density run", "muscl", "12", "from 0 to 0.4", energy),
        flow_in(tmp_path / "flow"): (
            "particle_ref",
            "Descent",
            "particles  7",
            "2 of 4",
            "not fin",
        ),
    }.items():
        shown = command("show", str(folder))
        assert shown.exit_code == 0, shown.stderr
        assert all(word in shown.stdout for word in words), shown.stdout


def test_compare_says_what_compare_does(stored, tmp_path):
    """A density and a cloud of one problem; a result of mfpde run stands for its density."""
    problem = mf.two_layer([0.0, 1.0], [0.0, 1.0])
    axes = {name: mf.uniform(-8, 8, 12) for name in problem.coords}
    run = mf.solve(problem, mf.Grid(**axes), times=[0, 0.1], to=tmp_path / "run")
    flow = mf.load(flow_in(tmp_path / "flow"))
    compared = command("compare", str(tmp_path / "run"), str(tmp_path / "flow"))
    assert compared.exit_code == 0, compared.stderr
    header, *rows = (line.split("  ") for line in compared.stdout.splitlines())
    assert "prediction gap" in header
    gaps = mf.compare(run, flow)
    assert len(rows) == gaps.sizes["time"]
    for row, gap in zip(rows, gaps.sliced_w2.values, strict=True):
        assert f"{gap:.4g}" in " ".join(row).split()
    same = command("compare", str(stored), str(stored / "density"))
    assert same.exit_code == 0, same.stderr
    for row in same.stdout.splitlines()[1:]:
        assert max(map(float, row.split()[1:])) <= 1e-12


def test_compare_refuses_what_does_not_compare(stored, tmp_path):
    flow = flow_in(tmp_path / "flow")
    refused(command("compare", str(stored), str(flow)), 2, "the runs")
    refused(command("compare", str(stored), str(tmp_path)), 2, "holds nothing of this software")


def test_check_names_what_changed(stored, tmp_path):
    for folder in (stored, stored / "density", flow_in(tmp_path / "flow")):
        checked = command("check", str(folder))
        assert (checked.exit_code, checked.stderr) == (0, "")
        assert "as written" in checked.stdout
    for file in (
        "report.html", "comparison.zarr/time/c/0", "flows/m20.zarr/zarr.json", "plan.json", "DONE",
        "density/out.zarr/rho/3.0.0", "density/checkpoint.previous", "density/checkpoint",
    ):  # fmt: skip
        path = stored / file
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        refused(command("check", str(stored)), 5, str(path))
        path.unlink()
        if file not in ("plan.json", "DONE", "density/checkpoint.previous"):
            refused(command("check", str(stored)), 5, str(path))
        path.write_bytes(data)
    assert command("check", str(stored)).exit_code == 0


def test_what_is_not_there_yet_is_told(stored):
    """A run that ended before its first snapshot or its density; and a density that went."""
    density = stored / "density"
    manifest = density / "manifest.json"
    manifest.rename(stored / "hidden")
    refused(command("check", str(stored)), 5, "is missing")
    (stored / "DONE").unlink()
    told = command("check", str(stored))
    assert "no density yet; results are not there yet" in told.stdout, told.stdout
    (stored / "hidden").rename(manifest)
    (density / "COMMIT").unlink()
    refused(command("check", str(stored)), 5, "COMMIT is damaged")
    for path in (*density.glob("checkpoint*"), density / "DONE"):
        path.unlink()
    told = command("check", str(stored))
    assert "no snapshot yet" in told.stdout, told.stdout


def test_folders_of_others_are_refused(stored, tmp_path):
    for word in ("show", "check", "resume"):
        refused(command(word, str(tmp_path)), 2, str(tmp_path), "plan.json")
    refused(command("resume", str(stored / "density")), 2, "call solve again from your script")


def test_data_that_changed_do_not_go_on(here, monkeypatch):
    Path("data.csv").write_text("x,y\n1,2\n2,4\n3,5\n")
    monkeypatch.setattr(cli, "write", lambda outcome, folder: None)
    assert call("data.csv", "--x", "x", "--y", "y", "--out", "out", *SMALL).exit_code == 0
    Path("data.csv").write_text("x,y\n1,2\n2,4\n3,6\n")
    refused(command("resume", "out"), 4, "data: data.csv of hash")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_limits_that_are_no_time(here, seconds):
    refused(call("--max-seconds", seconds, *SMALL), 2, "--max-seconds")
    assert not list(here.iterdir())


def test_version():
    told = command("--version")
    assert (told.exit_code, told.stdout) == (0, f"mfpde {mf.__version__}\n")


def test_doctor():
    found = command("doctor")
    assert found.exit_code == 0
    for word in ("mfpde ", "numpy ", "BLAS ", "GiB available", "GiB free", "loops"):
        assert word in found.stdout


# The plan ---------------------------------------------------------------------------------------


def test_the_horizon_is_where_doubling_no_longer_pays(monkeypatch):
    def risks(*values: float) -> None:
        flow = xr.Dataset({"risk": ("time", list(values))})
        monkeypatch.setattr(pr, "run", lambda *arguments: flow)

    problem = mf.two_layer([0.0, 1.0], [0.0, 1.0])
    risks(1.0, 0.5, 0.4999, 0.4, 0.3, 0.2)
    assert cli.horizon_of(problem, None)[0] == 1.0
    risks(1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    assert cli.horizon_of(problem, None)[0] == 16.0
    assert cli.horizon_of(problem, 3.5)[0] == 3.5


def test_options_take_several_values(tmp_path):
    file = tmp_path / "data.csv"
    file.touch()
    words = ["run", "--x", "a", "b", "--y", "c", "--out", "d", "--particles", "1", "2"]
    assert cli.spread(words) == [
        "run", "--x", "a", "--x", "b", "--y", "c", "--out", "d", "--particles", "1", "--particles",
        "2",
    ]  # fmt: skip
    words = ["run", "--x", "a", str(file), "--y", "c"]
    assert cli.spread(words) == words
    assert question.widths_of(["100", "20,10", " 5 100"]) == (5, 10, 20, 100)


# The process ------------------------------------------------------------------------------------


def test_help_is_light():
    code = (
        "import sys\nfrom mfpde.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    assert not {'matplotlib', 'ot', 'zarr', 'fipy'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--help"], capture_output=True, text=True, check=True
    )
    for option in ("--particles", "--seeds", "--no-bias", "--horizon"):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("python -m mfpde run", True),
        ("python -mmfpde run", True),
        ("python -um mfpde run", True),
        ("python -X utf8 -W ignore -m mfpde", True),
        ("python -m pytest -m mfpde", False),
        ("python", False),
    ],
)
def test_every_way_to_ask_for_the_module_is_known(monkeypatch, words, ours):
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setattr(sys, "orig_argv", words.split())
    assert signals.is_command() == ours
