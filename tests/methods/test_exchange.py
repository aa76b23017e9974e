"""Implicit exchange over several axes at once: the sparse solve, and what its factors hold."""

import numpy as np
import pytest
from contracts.worlds import WORLDS, rough, world
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.sparse.linalg import splu

import mfpde as mf
from mfpde.methods.exchange import Exchange
from mfpde.methods.faces import faces_of
from mfpde.methods.scharfetter_gummel import fill

LAMBDA = 0.3


@pytest.mark.parametrize("dt", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", ["circle × open", "closed³"])
def test_the_inverse_against_a_dense_solve(name, dt):
    """(I − dt·Q)⁻¹ m: positive; closed walls keep the mass to the last bits, open ones do not."""
    flow = world(WORLDS[name])
    V = np.random.default_rng(6).normal(size=flow.grid.shape)
    rates = Exchange(faces_of(flow), V, LAMBDA)
    masses = rough(flow, 3) * flow.volumes
    after = rates.inverse(tuple(range(V.ndim)), dt)(masses)
    dense = np.eye(V.size) - dt * rates.matrix().toarray()
    assert_allclose(after.ravel(), np.linalg.solve(dense, masses.ravel()), rtol=1e-9)
    assert after.min() >= 0
    assert not rates.inverse(tuple(range(V.ndim)), dt)(np.zeros_like(masses)).any()
    if name == "closed³":
        assert after.sum() == pytest.approx(masses.sum(), rel=1e-14)
    else:
        assert after.sum() < masses.sum() * (1 - 1e-4 * min(dt, 1))


@pytest.mark.parametrize("shape", [(48, 48), (96, 96), (10, 10, 10), (16, 16, 16)])
def test_factors_hold_no_more_than_is_forecast(shape):
    """Entries of both factors per cell; the forecast is above them, by a factor of 2.2 at most."""
    axes = {c: mf.uniform(-1, 1, n, walls="closed") for c, n in zip("uvw", shape, strict=False)}
    flow = world({c: (axis, mf.line()) for c, axis in axes.items()})
    Q = Exchange(faces_of(flow), np.zeros(shape), LAMBDA).matrix()
    A = sparse.identity(Q.shape[0], format="csc") - Q
    factors = splu(
        A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    counted = (factors.L.nnz + factors.U.nnz) / Q.shape[0]
    assert counted <= fill(shape) <= 2.2 * counted
