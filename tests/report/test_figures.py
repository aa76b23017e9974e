"""Every figure is whole, labelled and reproducible, and leaves matplotlib as it was."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from mfpde.report import figures, parts
from mfpde.report.findings import fitted

SHOWN = (0, 2, 4)


def panels(figure: Figure) -> list:
    """Axes that are not colour bars."""
    return [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]


def drawn(world, which: str) -> Figure:
    if which == "marginals":
        return figures.marginals(world.run, SHOWN, world.flows[80][0])
    if which == "fit":
        return figures.fit(fitted(world.samples, world.problem, world.run, world.flows[80], SHOWN))
    if which == "budget":
        return parts.drawn(world.budget)
    return figures.history(world.run, world.gaps) if which == "history" else figures.gap(world.gaps)


@pytest.mark.parametrize("which", ["marginals", "fit", "history", "gap", "budget"])
@pytest.mark.parametrize("case", ["world", "penalised"])
def test_panels_are_labelled_and_hold_data(which, case, request):
    figure = drawn(request.getfixturevalue(case), which)
    expected = {
        "marginals": {"world": 3, "penalised": 9},  # pairs times instants
        "fit": {"world": 1, "penalised": 2},
        "history": {"world": 2, "penalised": 3},  # the energy differs under a penalty
        "gap": {"world": 2, "penalised": 2},
        "budget": {"world": 2, "penalised": 2},
    }
    assert len(panels(figure)) == expected[which][case]
    for axis in panels(figure):
        assert axis.get_xlabel()
        shares_y = axis.get_subplotspec().colspan.start > 0 and which in (
            "marginals",
            "fit",
            "budget",
        )
        assert axis.get_ylabel() or shares_y
        assert axis.has_data()


def test_a_marginal_is_a_density_and_the_image_shows_it(penalised):
    moment = penalised.run.isel(time=2)
    for pair in ((0, 1), (0, 2), (1, 2)):
        density = figures.marginal(moment, pair)
        areas = np.multiply.outer(*(np.diff(moment[f"{c}_edges"]) for c in ["a", "w1", "w2"][:2]))
        assert (density * areas).sum() == pytest.approx(float(moment.mass), abs=1e-12)
    figure = figures.marginals(penalised.run, [2])
    image = panels(figure)[1].collections[0]
    np.testing.assert_array_equal(
        image.get_array().reshape(12, 12), figures.marginal(moment, (0, 2)).T
    )


def test_the_picture_holds_the_mass(world):
    low, high = figures.shown_range(world.run, 0, SHOWN)
    edges = world.run.a_edges.values
    for t in SHOWN:
        masses = figures.marginal(world.run.isel(time=t), [0]) * np.diff(edges)
        outside = (edges[1:] <= low) | (edges[:-1] >= high)
        assert masses[outside].sum() <= 2 * figures.TAIL


def test_one_coordinate_is_drawn_as_a_density_with_a_rug(world):
    run, flow = world.run.isel(w=0, drop=True), world.flows[20][0].isel(coord=[0])
    run["rho"] = run.rho / float((run.rho[0] * np.diff(run.a_edges)).sum())
    figure = figures.marginals(run, SHOWN, flow)
    assert len(panels(figure)) == 3
    assert [axis.get_ylabel() for axis in panels(figure)] == ["density", "", ""]
    assert all(len(axis.lines[0].get_xdata()) == 20 for axis in panels(figure))


def test_points_are_the_particles_of_that_time(world):
    figure = figures.marginals(world.run, SHOWN, world.flows[20][1])
    for axis, t in zip(panels(figure), SHOWN, strict=True):
        np.testing.assert_array_equal(
            axis.lines[0].get_xydata(), world.flows[20][1].position.values[t]
        )


def test_the_guide_has_slope_minus_one_half(world):
    right = panels(figures.gap(world.gaps))[1]
    (guide,) = (line for line in right.lines if line.get_label() == "$m^{-1/2}$")
    m, values = guide.get_xdata(), guide.get_ydata()
    assert np.log(values[-1] / values[0]) / np.log(m[-1] / m[0]) == pytest.approx(-0.5)


def test_names_of_columns_are_text_and_not_formulas(penalised):
    assert figures.plain("cost $ <b>") == r"cost \$ <b>"
    assert len(figures.plain("x" * 300)) == figures.LONGEST_NAME
    assert [figures.symbol(name) for name in ("a", "w12", "theta")] == ["$a$", "$w_{12}$", "theta"]
    curves = fitted(
        penalised.samples, penalised.problem, penalised.run, penalised.flows[20], SHOWN
    ).assign_attrs(y_label="$ \\frac{ $_^")
    figures.rendered(figures.fit(curves), "png")


def test_rendering_is_reproducible_and_touches_no_setting(world):
    before = dict(matplotlib.rcParams)
    twice = [[figures.rendered(drawn(world, "fit"), form) for form in ("png", "pdf")] for _ in "ab"]
    assert twice[0] == twice[1]
    assert twice[0][0].startswith(b"\x89PNG")
    assert twice[0][1].startswith(b"%PDF")
    assert dict(matplotlib.rcParams) == before


def test_shades_darken_in_order():
    """They stay apart in a grey print: luminance falls by more than a twentieth each time."""
    for count in (2, 3, 5):
        grey = [np.dot((0.299, 0.587, 0.114), colour[:3]) for colour in figures.shades(count)]
        assert (np.diff(grey) < -0.05).all()


def test_no_figure_needs_pyplot():
    code = (
        "import sys, mfpde.report, mfpde.cli\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from mfpde.report import figures\n"
        "figures.rendered(figures.sheet(1, 1, 2.0)[0], 'png')\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
