"""Who takes which lines changes no bit."""

import os

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mfpde.kernels import sharing
from mfpde.kernels.moments import moments
from mfpde.kernels.remap import remap, remap_along
from mfpde.kernels.shift import shift
from mfpde.kernels.stencils import remap_table, switch_weights
from mfpde.kernels.switch import switch
from mfpde.kernels.tiles import OPEN, axis_view


def results(field):
    """All that kernels make of a field, along every axis."""
    found = [moments(field.reshape(len(field), -1), np.ones((3, len(field))))]
    for axis in range(field.ndim):
        view, new = axis_view(field, axis), np.empty_like(field)
        outer, N, inner = view.shape
        count = switch(view, switch_weights(7)[0], OPEN, True, axis_view(new, axis))
        found += [new.copy(), count]
        shifts = np.linspace(-3.0, 5.0, outer * inner).reshape(outer, inner)
        feet = np.arange(N + 1.0)[None, :, None] + shifts[:, None, :]
        for kernel, places in ((shift, (shifts, 7)), (remap, (feet, remap_table(7)))):
            out = np.empty((2, outer, inner))
            count = kernel(view, *places, OPEN, axis_view(new, axis), out)
            found += [new.copy(), out, count]
        out = np.empty((2, outer, inner))
        count = shift(view, shifts, 7, OPEN, axis_view(new, axis), out, True, True)
        found += [new.copy(), out, count]
        nodes = np.stack([feet[0, :, :1].T, np.ones((1, N + 1))])
        weights = np.stack([np.ones(outer * inner), shifts.ravel()], axis=1)
        there, out = axis_view(new, axis), np.empty_like(out)
        count = remap_along(view, nodes, weights, 7, OPEN, there, out, True, True)
        found += [new.copy(), out, count]
    return found


@pytest.mark.parametrize("cores", [2, 3])
def test_threads_change_no_bit(monkeypatch, cores):
    field = np.random.default_rng(0).exponential(size=(14, 11, 50)) ** 3
    monkeypatch.setattr(sharing, "CORES", 1)
    alone = results(field)
    monkeypatch.setattr(sharing, "CORES", cores)
    monkeypatch.setattr(sharing, "LARGE", 0)
    sharing.team.cache_clear()
    for one, many in zip(alone, results(field), strict=True):
        assert_array_equal(many, one)
    assert sharing.team.cache_info().currsize == 1
    sharing.team().shutdown()
    sharing.team.cache_clear()


def test_every_block_is_taken_once(monkeypatch):
    monkeypatch.setattr(sharing, "CORES", 4)
    monkeypatch.setattr(sharing, "LARGE", 10)
    sharing.team.cache_clear()
    for blocks in (1, 3, 4, 17):
        taken = []

        def kernel(word, begin, end, taken=taken):
            taken.extend(range(begin, end))
            return end - begin

        assert sharing.shared(kernel, ("word",), blocks, 10) == blocks
        assert sorted(taken) == list(range(blocks))
    sharing.team().shutdown()
    sharing.team.cache_clear()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_forked_process_has_a_team_of_its_own(monkeypatch):
    """The parent's threads are not in the child, which would wait for them for ever."""
    monkeypatch.setattr(sharing, "CORES", 2)
    sharing.team()
    child = os.fork()
    if child == 0:
        os._exit(0 if sharing.team.cache_info().currsize == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    sharing.team().shutdown()
    sharing.team.cache_clear()
