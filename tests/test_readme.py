"""The README is true: its Python runs as printed, its commands and files exist."""

import re
from pathlib import Path

import numpy as np
import pytest

import mfpde as mf

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """All Python blocks of the README, run one after the other in an empty folder."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 3
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("readme"))
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    return names


def test_the_example_finds_what_it_says(session: dict) -> None:
    run, gap, own = session["run"], session["gap"], session["own"]
    assert float(run.risk[0]) == pytest.approx(0.2203, abs=1e-3)  # case B of the benchmarks
    assert float(run.risk[-1]) == pytest.approx(0.1833, abs=1e-3)
    assert abs(float((run.mass + run.escaped)[-1]) - 1) < 1e-12
    assert 1e-4 < float(gap.prediction_gap[-1]) < 3e-2  # sampling by 1000 neurons
    assert float(own.prediction_gap[-1]) < 1e-3
    assert 1e-6 < float(session["error"].l1[-1]) < 1e-3
    assert 1e-5 < float(session["estimate"].l1[-1]) < 1e-2


def test_the_gap_is_sampling_as_theory_says(session: dict) -> None:
    """8 replicas of each width; their scatter is right to a factor of 3 at least."""
    budget, last = session["budget"], session["budget"].dataset.isel(time=-1)
    assert budget.dominant() == "sampling"
    assert float(last.grid) < 1e-4
    assert (abs(np.log(last.sampling / last.central_limit)) < np.log(3)).all()
    assert 1e4 < float(last.width_needed) < 1e6


def test_noise_and_equilibrium(session: dict) -> None:
    resting, moving, witness = session["resting"], session["moving"], session["witness"]
    assert "scharfetter_gummel" in resting.attrs["method"]
    assert (np.diff(resting.energy) < 1e-12).all()
    assert float(session["ledger"].max() - session["ledger"].min()) < 1e-11
    assert float(resting.dissipation[-1]) < 1e-12 < float(resting.dissipation[2])
    early, late = moving.isel(time=1), resting.isel(time=1)
    assert float(abs(moving.energy[2] - late.energy)) < 1e-3
    assert float(abs(witness.energy[1] - early.energy)) < 5e-3  # implicit, with dt = 0.1


def test_a_window_follows_what_contracts(session: dict) -> None:
    """The last method of the two has one: its cells are a hundredth as wide as the grid's."""
    assert session["off"] < 1e-6
    assert float(session["seen"].a[1] - session["seen"].a[0]) < 0.01 * 8 / 96


def test_certificates_bound_what_is_above_the_optimum(session: dict) -> None:
    best, above = session["best"], session["trained"].energy.values - session["best"].value
    assert best.gap <= 1e-10
    assert (session["bounds"].gap.values >= above).all()
    assert session["bounds"].gap.values[-1] < 1e-3
    assert abs(float(session["resting"].energy[-1]) - session["least"].value) < 1e-9


def test_the_recipes_work(session: dict) -> None:
    problem, run = session["problem"], session["run"]
    last = run.isel(time=-1)
    at_samples = mf.predict(problem, last, problem.x)
    np.testing.assert_allclose(at_samples, last.prediction, atol=1e-12)
    assert session["gaps"].prediction_gap.sizes["replica"] == 4
    width = np.diff(run.a_edges.values)
    np.testing.assert_allclose((session["marginal"] * width).sum("a"), run.mass, rtol=1e-12)
    assert session["longer"].sizes["time"] == 3
    before = session["longer"].isel(time=slice(2)).marginal_a
    np.testing.assert_array_equal(before, run_of_marginals(session))
    np.testing.assert_array_equal(before, session["again"].marginal_a)
    np.testing.assert_array_equal(before, session["saved"].marginal_a)


def run_of_marginals(session: dict) -> np.ndarray:
    """The first two times, computed once more."""
    again = mf.solve(session["problem"], session["grid"], times=[0, 1], keep="marginals")
    return again.marginal_a.values


def test_its_commands_and_links_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for link in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / link).exists(), link
    for name in set(re.findall(r"`mf\.(\w+)", README)):
        assert hasattr(mf, name), name
