"""The numbers of a report against their definitions."""

import json

import numpy as np
import pytest
import xarray as xr

from mfpde.errors import InvalidInput
from mfpde.prediction import predict
from mfpde.report import findings
from mfpde.report.findings import (
    band,
    fitted,
    found_in,
    gap_table,
    gathered,
    observed_slope,
    standardised,
    summary,
    without_dust,
)


def test_dust_is_the_lightest_cells_and_no_more_than_asked(world):
    volume = (9 / 24) ** 2
    for dust in (1e-3, 1e-6):
        light = without_dust(world.run, dust).rho.values
        for before, after in zip(world.run.rho.values, light, strict=True):
            gone = after == 0
            assert before[gone].sum() * volume <= dust
            np.testing.assert_array_equal(after[~gone], before[~gone])
            lightest = before[~gone].min()
            assert before[gone].max(initial=0) <= lightest
            assert before[before <= lightest].sum() * volume > dust  # one more would be too many


def test_prediction_gaps_are_root_mean_squares(world):
    for k, (m, flows) in enumerate(world.flows.items()):
        assert world.gaps.width[k] == m
        for seed, flow in enumerate(flows):
            for name, other in (("prediction_gap", world.run), ("sampling_gap", world.own)):
                squares = (flow.prediction.values - other.prediction.values) ** 2
                np.testing.assert_allclose(
                    world.gaps[name][k, seed], np.sqrt(squares.mean(axis=1)), rtol=1e-12
                )
            np.testing.assert_allclose(
                world.gaps.risk_gap[k, seed], flow.risk - world.run.risk, atol=1e-15
            )
            np.testing.assert_array_equal(world.gaps.energy[k, seed], flow.energy)


def test_the_own_cells_start_where_the_density_does(world):
    gaps = world.gaps
    assert gaps.own_prediction_gap[0] < 1e-4  # but for the dust of 5e-6
    assert 0 < gaps.attrs["own_mass_left_out"] <= findings.DUST
    assert float(gaps.own_w1_a[0]) < 1e-12
    assert gaps.attrs["own_particles"] == world.own.sizes["particle"]


def test_energy_distance_takes_as_many_seeds_as_pairs_allow(world, monkeypatch):
    cells = int((without_dust(world.run).rho[-1] > 0).sum())
    monkeypatch.setattr(findings, "MOST_PAIRS", 2 * 80 * cells)
    found = gathered(world.run, world.flows, world.own)
    assert found.energy_distance.notnull().sum("seed").values.tolist() == [3, 2]
    for name in ("energy_distance", "sliced_w2"):
        known = found[name].notnull()
        xr.testing.assert_equal(found[name].where(known), world.gaps[name].where(known))
    _, rows = gap_table(found)
    (energies,) = (row for row in rows if row[0] == "energy distance")
    assert energies[-1] == "–"
    assert all(row[0].endswith(", iid") for row in rows[rows.index(energies) + 1 :])


def test_bands_are_quantiles_over_seeds():
    values = xr.DataArray(np.arange(21.0)[:, None] * [1, 10], dims=("seed", "time"))
    np.testing.assert_allclose(band(values), [[1, 10], [10, 100], [19, 190]])
    with_gap = xr.DataArray([3.0, np.nan, 5.0], dims="seed")
    np.testing.assert_allclose(band(with_gap), [3.0, 4.0, 5.0])  # of few: least and most


def test_a_power_law_has_its_slope():
    m = np.array([10.0, 100.0, 3000.0])
    assert observed_slope(m, 4 * m**-0.7) == pytest.approx(-0.7)
    assert np.isnan(observed_slope(m[:1], m[:1]))


def test_standardised_columns_and_labels():
    x = np.array([[1.0, 10.0], [2.0, 30.0], [6.0, 20.0]])
    samples = standardised("s", x, np.array([1.0, -1.0, 1.0]), ["p", "q"], "r", labels=True)
    np.testing.assert_allclose(samples.x.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(samples.x.std(axis=0), 1)
    np.testing.assert_allclose(samples.x_mean + samples.x_std * samples.x, x)
    assert samples.y.tolist() == [1.0, -1.0, 1.0]
    assert (samples.y_mean, samples.y_std) == (0.0, 1.0)
    with pytest.raises(InvalidInput, match="column 'q'"):
        standardised("s", np.array([[1.0, 5.0], [2.0, 5.0]]), np.arange(2.0), ["p", "q"], "r")


def test_curves_are_predictions_in_the_units_of_the_data(world, penalised):
    curves = fitted(world.samples, world.problem, world.run, world.flows[20], (0, 4))
    assert curves.x_curve.min() < curves.x.min() == pytest.approx(10.0)
    z = (curves.x_curve - world.samples.x_mean[0]) / world.samples.x_std[0]
    for data, source in (
        (curves.density[-1], world.run),
        (curves.particles[1], world.flows[20][1]),
    ):
        f = predict(world.problem, source.isel(time=-1), z)
        np.testing.assert_allclose(data, world.samples.y_mean + world.samples.y_std * f)
    cloud = fitted(penalised.samples, penalised.problem, penalised.run, penalised.flows[20], (4,))
    s = penalised.samples
    np.testing.assert_allclose(cloud.density[0], s.y_mean + s.y_std * penalised.run.prediction[-1])
    np.testing.assert_allclose(cloud.y, s.y_mean + s.y_std * s.y)


def test_words_hold_the_numbers(world):
    text, last = summary(world.run, world.gaps, world.budget), world.gaps.isel(time=-1)
    for number in (
        f"{float(world.run.risk[-1]):.4g}",
        f"{float(last.prediction_gap.sel(width=80).median()):.3g}",
        f"{float(last.own_prediction_gap):.3g}",
        "20 and 80",
        f"{float(world.run.escaped[-1]):.1e}",
        world.budget.sentence,
    ):
        assert number in text
    header, rows = gap_table(world.gaps)
    assert header == ["particles", "20", "80", "own cells"]
    assert [row[0] for row in rows][:4] == [
        "risk", "risk gap", "prediction gap", "gap to own cells",
    ]  # fmt: skip
    assert all(len(row) == len(header) for row in rows)


def test_a_single_width_has_no_slope(world):
    alone = gathered(world.run, {20: world.flows[20]}, world.own)
    assert "scales" not in summary(world.run, alone, None)
    found = json.loads(json.dumps(found_in(world.run, alone), allow_nan=False))
    assert found["slopes"] == {"prediction_gap": None, "sampling_gap": None}


def test_found_numbers_are_those_of_the_gaps(world):
    found = json.loads(json.dumps(found_in(world.run, world.gaps), allow_nan=False))
    assert found["risk"] == [float(world.run.risk[0]), float(world.run.risk[-1])]
    median = float(world.gaps.prediction_gap[1, :, -1].median())
    assert found["widths"]["80"]["prediction_gap"]["median"] == pytest.approx(median, rel=1e-15)
    assert found["own_cells"]["own_risk"] == float(world.own.risk[-1])


def test_bands_in_words():
    """One value needs no brackets, none is a dash, and one seed is no spread."""
    of_seeds = [xr.DataArray(v, dims="seed") for v in ([1.0, 2.0, 4.0], [2.0] * 3, [np.nan] * 3)]
    assert [findings.in_words(values) for values in of_seeds] == ["2 [1, 4]", "2", "–"]
    assert findings.named_band(of_seeds[-1]) == {}
    words = [findings.spread_of(xr.Dataset(coords={"seed": range(n)})) for n in (1, 3, 40)]
    assert words[0] == "one seed"
    assert words[1].endswith("[least, most] over 3 seeds")
    assert words[2].endswith("[5 %, 95 %] over 40 seeds")
