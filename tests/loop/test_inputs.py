"""Arguments without meaning: every one is refused as InvalidInput, in words that name the place."""

import numpy as np
import pytest
from loop.planted import X, Y, plain, square

import mfpde as mf
from mfpde.errors import InvalidInput

LINE = mf.uniform(-6, 6, 16)
NAN_X = np.where(X > 0.5, np.nan, X)


def one(coords=("u",), phi=lambda q: np.cos(q[:, :1]), **parts):
    return mf.Problem(coords, phi, None, mf.square([1.0]), **parts)


def kernel(K=lambda p, q: p @ q.T, F=lambda p: p[:, 0]):
    return mf.kernel_problem(("w",), K, F, initial=mf.gaussian(0, 0.5))


def solve(problem=None, grid=None, **parts):
    return mf.solve(problem or plain(), grid or square(), **parts)


REFUSED = {
    # the data
    "x of another length": (lambda: mf.two_layer(X[:5], Y), "5 samples and y 6"),
    "x not finite": (lambda: mf.two_layer(NAN_X, Y), "x[4] = nan"),
    "y not finite": (lambda: mf.two_layer(X, Y * np.inf), "y[0]"),
    "x empty": (lambda: mf.two_layer([], []), "x has shape (0,)"),
    "x of three dimensions": (lambda: mf.two_layer(X.reshape(1, 2, 3), Y), "x has shape"),
    "y of two dimensions": (lambda: mf.two_layer(X, Y[:, None]), "y has shape (6, 1)"),
    "x in words": (lambda: mf.two_layer(["a", "b"], Y), "x is not an array"),
    "weights that do not sum to 1": (lambda: mf.two_layer(X, Y, weights=np.ones(6)), "sum to 6"),
    "a negative weight": (
        lambda: mf.two_layer(X, Y, weights=[-0.5, 0.5, 0.25, 0.25, 0.25, 0.25]),
        "weights[0]",
    ),
    "weights of another length": (lambda: mf.two_layer(X, Y, weights=[1.0]), "weights"),
    "labels that are none": (lambda: mf.two_layer(X, Y, loss=mf.logistic), "y[1]"),
    # the problem
    "an activation by name": (lambda: mf.two_layer(X, Y, activation="tanh"), "activation"),
    "a loss by name": (lambda: mf.two_layer(X, Y, loss="square"), "loss"),
    "a loss already bound": (lambda: mf.two_layer(X, Y, loss=mf.square(Y)), "loss"),
    "a penalty that is a number": (lambda: mf.two_layer(X, Y, penalty=0.1), "penalty"),
    "a law that is a number": (lambda: mf.two_layer(X, Y, initial=1.0), "initial"),
    "a domain of an unknown coordinate": (lambda: plain(domain={"v": mf.circle(1)}), "['v']"),
    "a domain that is a number": (lambda: plain(domain={"w": 1.0}), "domain"),
    "negative entropy": (lambda: plain(entropy=-1.0), "entropy = -1.0"),
    "entropy not finite": (lambda: plain(entropy=np.nan), "entropy = nan"),
    "a law of another dimension": (lambda: plain(initial=mf.gaussian([0.0] * 3)), "3 dimension"),
    "a law of other coordinates": (lambda: plain(initial=mf.product(v=mf.point(0))), "v covers"),
    "ridge of another length": (
        lambda: solve(plain(penalty=mf.ridge([1.0, 2.0, 3.0]))),
        "ridge has 3 strengths for 2",
    ),
    "coordinates named twice": (lambda: one(("u", "u")), "('u', 'u')"),
    "a coordinate that is no name": (lambda: one(("u v",)), "u v"),
    "a gradient of F of another shape": (
        lambda: mf.kernel_problem(
            ("w",), lambda p, q: p @ q.T, lambda p: p[:, 0], dF=lambda p: np.ones(len(p))
        ),
        "dF has another shape",
    ),
    "keep everything": (lambda: solve(keep="everything"), "keep = 'everything'"),
    "keep a list": (lambda: solve(keep=["density"]), "keep = ['density']"),
    "a coordinate named time": (lambda: one(("time",)), "time"),
    "features of another shape": (lambda: one(phi=lambda q: q[:, 0]), "phi maps points"),
    "a kernel of another shape": (lambda: kernel(K=lambda p, q: p[:, 0]), "K has shape (3,)"),
    "a linear part of another shape": (lambda: kernel(F=lambda p: p), "F (3, 1)"),
    "a kernel that is not symmetric": (lambda: kernel(K=lambda p, q: p @ (q.T + 1)), "K(v, u)"),
    "huber of nothing": (lambda: mf.huber(0.0), "huber(0.0)"),
    "a circle without length": (lambda: mf.circle(0.0), "circle"),
    "an interval upside down": (lambda: mf.interval(1, -1), "interval"),
    # problem and grid together
    "axes in another order": (lambda: solve(grid=mf.Grid(w=LINE, a=LINE)), "['w', 'a']"),
    "axes of other names": (lambda: solve(grid=mf.Grid(a=LINE, v=LINE)), "['a', 'v']"),
    "an axis too few": (lambda: solve(grid=mf.Grid(a=LINE)), "['a']"),
    "a circle on a straight axis": (
        lambda: solve(
            plain(activation=mf.cos, domain={"w": mf.circle(10 * np.pi)}),
            mf.Grid(a=LINE, w=LINE),
        ),
        "w = uniform(-6, 6, 16)",
    ),
    "a line on a periodic axis": (
        lambda: solve(grid=mf.Grid(a=LINE, w=mf.periodic(-6, 6, 16))),
        "w = periodic(-6, 6, 16)",
    ),
    "an interval not filled": (
        lambda: solve(plain(domain={"w": mf.interval(-6, 5)}), mf.Grid(a=LINE, w=LINE)),
        "interval",
    ),
    "a law outside the box": (lambda: solve(grid=square(2.0)), "outside the grid's box"),
    "a law outside its interval": (
        lambda: solve(
            plain(domain={"w": mf.interval(-1, 1)}), mf.Grid(a=LINE, w=mf.uniform(-1, 1, 16))
        ),
        "interval(-1.0, 1.0)",
    ),
    "a kernel of too many cells": (
        lambda: solve(kernel(), mf.Grid(w=mf.uniform(-4, 4, 5000))),
        "5000 cells",
    ),
    # the call
    "a grid that is a number": (lambda: mf.solve(plain(), 32), "grid"),
    "a problem that is a number": (lambda: mf.solve(3.0, square()), "problem"),
    "a method by name": (lambda: solve(method="muscl"), "method = 'muscl'"),
    "a method not called": (lambda: solve(method=mf.muscl), "method = <function muscl"),
    "times that go back": (lambda: solve(times=[0, 1, 0.5]), "times"),
    "times that stand": (lambda: solve(times=[0, 1, 1]), "times"),
    "times before the start": (lambda: solve(times=[-1, 1]), "times"),
    "times not finite": (lambda: solve(times=[0, np.nan]), "times"),
    "no times": (lambda: solve(times=[]), "times"),
    "times of two dimensions": (lambda: solve(times=[[0.0, 1.0]]), "times"),
    "times in words": (lambda: solve(times="long"), "times"),
    "an unknown keep": (lambda: solve(keep="all"), "keep = 'all'"),
    "a tolerance above 1": (lambda: solve(escaped_tolerance=2.0), "escaped_tolerance = 2"),
    "a tolerance that is no number": (lambda: solve(escaped_tolerance=np.nan), "tolerance = nan"),
    "an observer that is none": (lambda: solve(watch=["risk"]), "watch"),
    # methods
    "upwind beyond its limit": (lambda: mf.upwind(cfl=1.1), "upwind(cfl=1.1)"),
    "upwind that stands": (lambda: mf.upwind(cfl=0.0), "upwind(cfl=0.0)"),
    "muscl beyond its limit": (lambda: mf.muscl(cfl=0.6), "muscl(cfl=0.6)"),
    "muscl with no number": (lambda: mf.muscl(cfl=np.nan), "muscl(cfl=nan)"),
    "an unknown limiter": (lambda: mf.muscl("superbee"), "limiter='superbee'"),
    # fitting a box
    "a horizon before the start": (lambda: mf.fit_grid(plain(), horizon=-1.0), "horizon = -1"),
    "a horizon not finite": (lambda: mf.fit_grid(plain(), horizon=np.inf), "horizon = inf"),
    "cells of other coordinates": (lambda: mf.fit_grid(plain(), cells={"a": 8}), "cells names"),
    "too few cells": (lambda: mf.fit_grid(plain(), cells=3, horizon=0.0), "cells = 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_words(case):
    call, named = REFUSED[case]
    with pytest.raises(InvalidInput) as refusal:
        call()
    text = str(refusal.value)
    assert named in text
    assert len(text) < 800
    assert isinstance(refusal.value, ValueError)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("name", ["x", "y", "weight", "wall", "rho", "risk", "mass", "escaped"])
def test_coordinates_may_not_take_the_names_of_the_record(name):
    """A run has variables of these names; a coordinate of that name would clash with them."""
    with pytest.raises(InvalidInput) as refusal:
        one((name,))
    assert name in str(refusal.value)
