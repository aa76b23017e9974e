"""What every law promises beside its pointwise parts: the sampler draws from the density."""

import numpy as np
import pytest
from contracts.promises import sampler_draws_from_density

import mfpde as mf

COV = [[1.0, -0.4], [-0.4, 0.5]]
LAWS = (
    mf.gaussian([0.2, -0.1], [0.8, 0.6]),
    mf.gaussian([0.2, -0.1], cov=COV),
    mf.uniform_box([-0.77, -1.0], [1.31, 0.5]),
    mf.product(w=mf.uniform_box(-1.03, 0.4), a=mf.gaussian(0.5, 0.7)),
    mf.shell(1.5, 0.3),
    mf.mixture([0.3, 0.7], [mf.gaussian(-1, 0.5), mf.gaussian([1, 0], cov=COV)]),
)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_the_sampler_draws_from_the_density(law):
    sampler_draws_from_density(law.on(("a", "w")))


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_the_reach_holds_the_mass(law):
    """At most ``tail`` beyond each side: counted on images of a lattice of the cube."""
    ticks = (np.arange(100) + 0.5) / 100
    cube = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    points = law.on(("a", "w")).from_uniform(cube)
    low, high = law.on(("a", "w")).reach(0.05)
    assert ((points < low).mean(axis=0) <= 0.06).all()
    assert ((points > high).mean(axis=0) <= 0.06).all()
