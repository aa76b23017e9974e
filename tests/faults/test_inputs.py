"""Nasty values at every entry point: each is refused by name, and nothing is written.

What tests/loop/test_inputs.py and the tests of single parts refuse already is not repeated: here
are the values that NumPy and Python would take for something else (text that reads as a number,
dates, masked entries, whole numbers beyond floats, "no" for a flag), that they refuse in words of
their own, and objects that are something else altogether. Last come inputs that must work.

Errors that a caller's own function raises (other than by not taking arrays) are his, and features
that are not finite somewhere are met by the guards of a run: neither is looked for here.
"""

import functools
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mfpde as mf
import particle_ref as pr
from mfpde.errors import AlreadyExists, MfpdeError
from mfpde.problems.data import standardise

X = np.linspace(-1, 1, 6)
Y = np.sin(3 * X)
TIMES = (0.0, 0.02)
BEYOND = 10**400  # a whole number that no float holds
DATES = np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[D]")
DAYS = np.array([0, 1], dtype="timedelta64[D]")
MASKED = np.ma.masked_greater(X, 0.5)
LAW = mf.gaussian().on("w")
SIX = np.zeros(6)


def problem(**parts):
    return mf.two_layer(X, Y, **parts)


def deep(d=3):
    """Neurons of d + 2 coordinates."""
    return mf.two_layer(np.outer(X, np.arange(1, d + 1)), Y, bias=True)


def one(phi=lambda p: np.cos(p[:, :1]), dphi=None, coords=("u",), **parts):
    return mf.Problem(coords, phi, dphi, mf.square([1.0]), **parts)


def kernel(coords=("w",), K=lambda p, q: p @ q.T, F=lambda p: p[:, 0], **parts):
    return mf.kernel_problem(coords, K, F, **parts)


def grid(cells=12):
    return mf.Grid(a=mf.uniform(-6, 6, cells), w=mf.uniform(-6, 6, cells))


@functools.cache
def run():
    return mf.solve(problem(), grid(), mf.upwind(), TIMES, progress=False)


@functools.cache
def cloud():
    return pr.sample(problem(), 8)


@functools.cache
def flow():
    return pr.run(problem(), cloud(), pr.Descent(0.01), TIMES)


def end():
    return run().isel(time=-1)


def solve(problem_=None, **parts):
    given = {"grid": grid(), "method": mf.upwind(), "times": TIMES, "progress": False} | parts
    return mf.solve(problem() if problem_ is None else problem_, **given)


def ran(problem_=None, **parts):
    given = {"cloud": cloud(), "method": pr.Descent(0.01), "times": TIMES} | parts
    return pr.run(problem() if problem_ is None else problem_, **given)


def network(m=4, d=1, activation="relu", seed=0):
    return pr.MeanFieldTwoLayerNN(m, d, activation, seed)


def trained(X=X[:, None], y=Y, lr=0.1, n_steps=1):
    return network().train_gradient_descent(X, y, lr, n_steps)


def axis(edges, walls="open", is_uniform=False):
    return mf.Axis(np.array(edges), walls, is_uniform, "mine")


class Truth:
    """A truth that answers as it is told."""

    def __init__(self, density=lambda p: np.zeros(len(p)), prediction=SIX):
        self.density_, self.prediction_ = density, prediction

    def density(self, points, t):
        return self.density_(points)

    def prediction(self, t):
        return self.prediction_


Loss, Penalty, Activation = mf.Loss, mf.Penalty, mf.Activation

REFUSED = {
    # arrays of the data
    "x of dates": (lambda: mf.two_layer(DATES, [0.0, 1.0]), "dates"),
    "x of days": (lambda: mf.two_layer(DAYS, [0.0, 1.0]), "differences of dates"),
    "x of digits in text": (lambda: mf.two_layer(["1", "2"], [0.0, 1.0]), "x is not"),
    "x of bytes": (lambda: mf.two_layer([b"1", b"2"], [0.0, 1.0]), "x is not"),
    "x with a text among numbers": (
        lambda: mf.two_layer(np.array([1, "2"], dtype=object), [0.0, 1.0]),
        "it holds text",
    ),
    "x with None": (lambda: mf.two_layer([1.0, None], [0.0, 1.0]), "x[1]"),
    "x missing": (lambda: mf.two_layer(None, Y), "x has shape ()"),
    "x masked": (lambda: mf.two_layer(MASKED, Y), "masked"),
    "x complex": (lambda: mf.two_layer(X + 0j, Y), "complex"),
    "x ragged": (lambda: mf.two_layer([[1, 2], [3]], [0.0, 1.0]), "x is not"),
    "x a mapping": (lambda: mf.two_layer({"x": X}, Y), "x is not"),
    "x a generator": (lambda: mf.two_layer((v for v in X), Y), "x is not"),
    "x a Dataset": (lambda: mf.two_layer(xr.Dataset({"x": ("n", X)}), Y), "x is not"),
    "x beyond floats": (lambda: mf.two_layer([0, BEYOND], [0.0, 1.0]), "x is not"),
    "x beyond doubles": (
        lambda: mf.two_layer(np.array([0, np.longdouble("1e400")]), [0.0, 1.0]),
        "x[1] = inf",
    ),
    "x with a missing value of pandas": (
        lambda: mf.two_layer(pd.Series([1, None], dtype="Int64"), [0.0, 1.0]),
        "x",
    ),
    "x transposed": (lambda: mf.two_layer(np.ones((2, 6)), Y), "2 samples and y 6"),
    "x without columns": (lambda: mf.two_layer(np.ones((6, 0)), Y), "(6, 0)"),
    "y masked": (lambda: mf.two_layer(X, np.ma.masked_less(Y, 0)), "masked"),
    "y one number": (lambda: mf.two_layer([1.0], 1.0), "y has shape ()"),
    "y of objects": (lambda: mf.two_layer(X, np.array([Truth()] * 6)), "y is not"),
    "weights by name": (lambda: problem(weights="uniform"), "weights"),
    "weights beyond": (lambda: problem(weights=np.full(6, 1e308)), "weights[0]"),
    "weights of zero": (lambda: problem(weights=np.zeros(6)), "sum to 0"),
    "weights complex": (lambda: problem(weights=np.full(6, 1 / 6 + 0j)), "complex"),
    "weights as a column": (lambda: problem(weights=np.full((6, 1), 1 / 6)), "(6, 1)"),
    "a column of dates": (lambda: standardise(DATES), "dates"),
    "a column beyond squares": (lambda: standardise([1e308, -1e308, 0]), "other units"),
    "a column below squares": (lambda: standardise([5e-324, 0, 0]), "other units"),
    # options of a problem
    "entropy in text": (lambda: problem(entropy="0.1"), "entropy = '0.1'"),
    "entropy in bytes": (lambda: problem(entropy=b"1"), "entropy"),
    "entropy a date": (lambda: problem(entropy=DATES[0]), "entropy"),
    "entropy beyond floats": (lambda: problem(entropy=BEYOND), "entropy"),
    "entropy in an array": (lambda: problem(entropy=np.array([0.1])), "entropy"),
    "bias by a word": (lambda: problem(bias="no"), "bias = 'no'"),
    "bias by None": (lambda: problem(bias=None), "bias = None"),
    "bias by an array": (lambda: problem(bias=np.array([True, False])), "bias"),
    "output weight by a word": (lambda: problem(output_weight="false"), "output_weight"),
    "lifted by a word": (lambda: one(coords=("a", "u"), lifted="no"), "lifted"),
    "a domain by name": (lambda: problem(domain="circle"), "domain"),
    "a domain in a list": (lambda: problem(domain=["w"]), "domain"),
    "a domain of numbers": (lambda: problem(domain={1: mf.line(), "v": mf.line()}), "'1', 'v'"),
    "a geometry not called": (lambda: problem(domain={"w": mf.half_line}), "domain['w']"),
    "an activation not wrapped": (lambda: problem(activation=np.tanh), "activation"),
    "an activation of no function": (lambda: problem(activation=Activation(3.0)), "value"),
    "an activation of None": (lambda: problem(activation=Activation(None)), "value"),
    "an activation of texts": (
        lambda: problem(activation=Activation(lambda z: z.astype(str))),
        "returns",
    ),
    "a slope of no function": (lambda: problem(activation=Activation(np.tanh, "1")), "slope"),
    "a loss not wrapped": (lambda: problem(loss=lambda f, y: f - y), "loss"),
    "huber not called": (lambda: problem(loss=mf.huber), "loss"),
    "a loss of no functions": (lambda: problem(loss=Loss(1.0, 2.0)), "the value of the loss"),
    "a loss without a slope": (lambda: problem(loss=Loss(np.subtract, None)), "slope"),
    "a slope of one argument": (lambda: problem(loss=Loss(np.subtract, lambda f: f)), "slope"),
    "a loss of complex values": (
        lambda: problem(loss=Loss(lambda f, y: f + 1j, np.subtract)),
        "complex",
    ),
    "a conjugate that is summed": (
        lambda: problem(loss=Loss(np.subtract, np.subtract, None, lambda u, y: 1.0)),
        "conjugate",
    ),
    "targets missing": (lambda: mf.square(None), "targets"),
    "a subset out of range": (lambda: mf.square([1.0, 2.0]).subset([5]), "subset([5])"),
    "a subset by name": (lambda: mf.square([1.0, 2.0]).subset("all"), "subset('all')"),
    "a subset by a long mask": (lambda: mf.square([1.0]).subset([True, False]), "subset"),
    "a conjugate that is missing": (
        lambda: Loss(np.subtract, lambda f, y: f**0)([1.0]).conjugate(np.zeros(1)),
        "has no conjugate",
    ),
    "huber beyond floats": (lambda: mf.huber(BEYOND), "huber"),
    "huber of two": (lambda: mf.huber([1.0, 2.0]), "huber"),
    "ridge in text": (lambda: mf.ridge("0.1"), "ridge"),
    "ridge complex": (lambda: mf.ridge(1j), "ridge"),
    "a strength missing": (lambda: mf.total_variation(None), "total_variation"),
    "a strength without end": (lambda: mf.path_norm(np.inf), "path_norm"),
    "a penalty in a list": (lambda: problem(penalty=[mf.ridge(1)]), "penalty"),
    "a penalty not called": (lambda: problem(penalty=mf.ridge), "penalty"),
    "a penalty of no function": (
        lambda: problem(penalty=Penalty(1.0, lambda p: p)),
        "penalty's value",
    ),
    "a penalty without a gradient": (
        lambda: problem(penalty=Penalty(lambda p: p[:, 0] ** 2, None)),
        "penalty's gradient",
    ),
    "a prox of another shape": (
        lambda: problem(
            penalty=Penalty(lambda p: (p**2).sum(1) / 2, lambda p: p, lambda p, s: p[:, 0])
        ),
        "penalty's prox",
    ),
    # laws
    "a law in text": (lambda: mf.gaussian("0", "1"), "gaussian"),
    "a law without a mean": (lambda: mf.gaussian(None), "gaussian"),
    "a law beyond squares": (lambda: mf.gaussian(1e308), "gaussian"),
    "a law of no width": (lambda: mf.gaussian(0, 1e-320), "spread"),
    "a covariance by name": (lambda: mf.gaussian(0, cov="I"), "cov"),
    "a covariance of nothing": (lambda: mf.gaussian(0, cov=np.empty((0, 0))), "cov"),
    "a box beyond floats": (lambda: mf.uniform_box(-1.7e308, 1.7e308), "uniform_box"),
    "a box without an end": (lambda: mf.uniform_box(0, np.inf), "uniform_box"),
    "a thin shell": (lambda: mf.shell(1e300, 1e-300), "shell"),
    "a law not called": (lambda: mf.product(a=mf.gaussian), "not a law"),
    "a mixture of one number": (lambda: mf.mixture(1.0, mf.gaussian()), "mixture"),
    "a mixture of an array": (lambda: mf.mixture([0.5, 0.5], np.zeros(2)), "mixture"),
    "nodes in text": (lambda: LAW.nodes("3"), "nodes"),
    "nodes beyond": (lambda: LAW.nodes(10**9), "nodes"),
    "nodes of half": (lambda: LAW.nodes(2.5), "nodes"),
    "a reach of None": (lambda: LAW.reach(None), "reach"),
    "uniforms in text": (lambda: LAW.from_uniform("u"), "u is not"),
    "ends in text": (lambda: LAW.outside("a", "b"), "low is not"),
    "coordinates of None": (lambda: mf.gaussian().on(None), "coordinates"),
    "coordinates in lists": (lambda: mf.gaussian().on([["w"]]), "coordinates"),
    # geometry
    "a circle beyond floats": (lambda: mf.circle(BEYOND), "circle"),
    "ends of a circle in text": (lambda: mf.Geometry("circle", "0", "1"), "circle"),
    "a kind in a list": (lambda: mf.Geometry(["line"], 0, 1), "line"),
    # problems of other features
    "coords missing": (lambda: one(coords=None), "coords"),
    "coords a number": (lambda: one(coords=5), "coords"),
    "coords in lists": (lambda: one(coords=(["u"],)), "coords"),
    "a coordinate that is a keyword": (lambda: one(coords=("lambda",)), "lambda"),
    "features missing": (lambda: one(phi=None), "phi"),
    "features that look too far": (lambda: one(phi=lambda p: p[:, 7:8][0, 0]), "phi"),
    "gradients of no function": (lambda: one(dphi="slope"), "dphi"),
    "x of another length": (lambda: one(x=np.zeros(3)), "x has shape (3,)"),
    "inputs of another length": (lambda: one(inputs=np.zeros((3, 1))), "inputs"),
    "a kernel missing": (lambda: kernel(K=None), "K = None"),
    "a kernel that looks too far": (lambda: kernel(K=lambda p, q: p[:, 7]), "K fails"),
    "a kernel of complex values": (lambda: kernel(K=lambda p, q: (p @ q.T) * 1j), "K returns"),
    "a kernel of nan": (lambda: kernel(K=lambda p, q: p @ q.T * np.nan), "not finite"),
    "a linear part of nan": (lambda: kernel(F=lambda p: p[:, 0] * np.nan), "not finite"),
    "a linear part by name": (lambda: kernel(F="F"), "F = 'F'"),
    "a kernel's gradient of another shape": (lambda: kernel(dK=lambda p, q: p), "dK"),
    "a constant beyond floats": (lambda: kernel(const=BEYOND), "const"),
    # axes and grids
    "an axis of dates": (lambda: mf.uniform(*DATES, 8), "an axis"),
    "an axis beyond floats": (lambda: mf.uniform(-BEYOND, BEYOND, 8), "an axis"),
    "an axis beyond squares": (lambda: mf.uniform(-1e300, 1e300, 8), "an axis"),
    "an axis finer than floats": (lambda: mf.uniform(1e16, 1e16 + 4, 64), "round-off"),
    "an axis coarser than its cells": (lambda: mf.uniform(1e9, 1e9 + 1e-6, 16), "cells"),
    "one cell": (lambda: mf.uniform(-1, 1, 1), "cells = 1"),
    "cells in text": (lambda: mf.uniform(-1, 1, "8"), "cells = '8'"),
    "cells by halves": (lambda: mf.uniform(-1, 1, 8.5), "cells = 8.5"),
    "cells beyond memory": (lambda: mf.uniform(-1, 1, 10**12), "cells"),
    "cells beyond floats": (lambda: mf.uniform(-1, 1, BEYOND), "cells"),
    "cells of two axes": (lambda: mf.uniform(-1, 1, [8, 8]), "cells"),
    "walls in an array": (lambda: mf.uniform(-1, 1, 8, np.array(["open"] * 2)), "walls"),
    "a focus in text": (lambda: mf.stretched(-1, 1, 8, focus="0"), "focus"),
    "a ratio beyond floats": (lambda: mf.stretched(-1, 1, 8, ratio=1e300), "ratio"),
    "edges that decrease": (lambda: axis([4.0, 3, 2, 1, 0]), "increasing"),
    "edges that repeat": (lambda: axis([0.0, 0, 1, 2, 3]), "increasing"),
    "edges of nan": (lambda: axis([0, np.nan, 1, 2, 3]), "finite"),
    "edges in a matrix": (lambda: axis(np.zeros((5, 5))), "(5, 5)"),
    "edges in text": (lambda: axis(list("01234")), "edges"),
    "edges that are not uniform": (lambda: axis([0, 0.5, 1, 2, 3], is_uniform=True), "uniform"),
    "walls of another kind": (lambda: axis(np.arange(5.0), "sticky"), "walls"),
    "a grid of more than memory": (
        lambda: mf.Grid(**dict.fromkeys("abcd", mf.uniform(-1, 1, 2**12))),
        "GiB",
    ),
    "a grid of tuples": (lambda: mf.Grid(a=(-1, 1, 8)), "a = (-1, 1, 8)"),
    # the solver, its methods and boxes
    "features at another grid": (lambda: solve(deep()), "a', 'w1'"),
    "features of nan away from the law": (
        lambda: solve(
            one(phi=lambda p: np.where(p[:, :1] > 3, np.nan, 1.0)),
            grid=mf.Grid(u=mf.uniform(-6, 6, 16)),
        ),
        "not finite",
    ),
    "instants that are dates": (lambda: solve(times=DATES), "times"),
    "instants that are days": (lambda: solve(times=DAYS), "times"),
    "instants in text": (lambda: solve(times=["0", "1"]), "times"),
    "instants masked": (lambda: solve(times=np.ma.masked_greater([0.0, 1.0], 0)), "masked"),
    "instants beyond floats": (lambda: solve(times=[0, BEYOND]), "times"),
    "a tolerance in text": (lambda: solve(escaped_tolerance="1e-6"), "escaped_tolerance"),
    "a tolerance of two": (lambda: solve(escaped_tolerance=[0.1, 0.2]), "escaped_tolerance"),
    "a keep in an array": (lambda: solve(keep=np.array(["density", "last"])), "keep"),
    "observers that are a number": (lambda: solve(watch=3), "watch"),
    "an observer alone": (lambda: solve(watch=lambda run: 1.0), "watch"),
    "an observer of words": (lambda: solve(watch=[lambda run: "one"]), "observer"),
    "an observer of arrays": (lambda: solve(watch=[lambda run: np.zeros(3)]), "observer"),
    "a folder by number": (lambda: solve(to=3), "path"),
    "a folder in bytes": (lambda: solve(to=b"run"), "path"),
    "a folder with a nul": (lambda: mf.store("a\0b"), "path"),
    "a folder of a long name": (lambda: mf.store("n" * 300), "200 bytes"),
    "progress by a word": (lambda: solve(progress="yes"), "progress"),
    "a method of particles": (lambda: solve(method=pr.Descent(0.1)), "method"),
    "a method that needs slopes": (
        lambda: solve(problem(activation=Activation(np.tanh)), method=mf.semi_lagrangian()),
        "slope",
    ),
    "a method that needs features": (
        lambda: solve(kernel(), grid=mf.Grid(w=mf.uniform(-6, 6, 16)), method=mf.semi_lagrangian()),
        "kernel",
    ),
    "a method that needs a curvature": (
        lambda: solve(
            problem(
                entropy=0.1,
                penalty=mf.ridge(1.0),
                loss=Loss(lambda f, y: (f - y) ** 2 / 2, np.subtract),
            ),
            method=mf.scharfetter_gummel(),
        ),
        "curvature",
    ),
    "a method without diffusion": (
        lambda: solve(problem(entropy=0.1, penalty=mf.ridge(1.0))),
        "upwind",
    ),
    "upwind beyond floats": (lambda: mf.upwind(BEYOND), "cfl"),
    "upwind of two": (lambda: mf.upwind([0.5, 0.6]), "cfl"),
    "a limiter in an array": (lambda: mf.muscl(np.array(["mc", "mc"])), "limiter"),
    "orders in an array": (lambda: mf.semi_lagrangian(np.array([5, 7])), "order"),
    "an order in text": (lambda: mf.semi_lagrangian("7"), "order"),
    "a step beyond floats": (lambda: mf.semi_lagrangian(dt=BEYOND), "dt"),
    "composed by a word": (lambda: mf.semi_lagrangian(dt=0.1, composed="no"), "composed"),
    "implicit by a word": (lambda: mf.scharfetter_gummel(implicit="no"), "implicit"),
    "inside in an array": (lambda: mf.scharfetter_gummel(inside=np.array(["a", "b"])), "inside"),
    "theta in text": (lambda: mf.scharfetter_gummel(theta="1"), "theta"),
    "a box for nothing": (lambda: mf.fit_grid(None), "problem = None"),
    "a box for an array": (lambda: mf.fit_grid(X), "problem"),
    "a box until a word": (lambda: mf.fit_grid(problem(), 8, "2"), "horizon = '2'"),
    "a box until two times": (lambda: mf.fit_grid(problem(), 8, [1.0, 2.0]), "horizon"),
    "a box until a date": (lambda: mf.fit_grid(problem(), 8, DATES[0]), "horizon"),
    "a box until beyond floats": (lambda: mf.fit_grid(problem(), 8, BEYOND), "horizon"),
    "a box of cells in text": (lambda: mf.fit_grid(problem(), "64"), "cells = '64'"),
    "a box of no cells": (lambda: mf.fit_grid(problem(), {"a": 8, "w": None}), "cells = None"),
    "a box of other names": (lambda: mf.fit_grid(problem(), {"a": 8, 1: 8}), "cells names"),
    "a box of five": (lambda: mf.fit_grid(deep(), 8, 0), "5 axes"),
    # clouds and flows
    "a cloud of text": (lambda: pr.Cloud([["1"]]), "position"),
    "a cloud of dates": (lambda: pr.Cloud(DATES[:, None]), "position"),
    "a cloud of complex": (lambda: pr.Cloud(np.array([[1 + 1j]])), "position"),
    "a masked cloud": (lambda: pr.Cloud(np.ma.masked_less([[1.0], [2.0]], 1.5)), "masked"),
    "a cloud beyond floats": (lambda: pr.Cloud([[BEYOND]]), "position"),
    "a cloud of nothing": (lambda: pr.Cloud(None), "position"),
    "a cloud of weights beyond": (lambda: pr.Cloud(np.zeros((2, 1)), [1e308] * 2), "sum to inf"),
    "a cloud of weights in text": (lambda: pr.Cloud([[0.0]], ["1"]), "weight"),
    "a cloud of other densities": (lambda: pr.Cloud([[0.0]], None, np.zeros(3)), "log_density"),
    "a cloud of densities by name": (lambda: pr.Cloud([[0.0]], None, "x"), "log_density"),
    "particles beyond memory": (lambda: pr.sample(problem(), 10**15), "m = "),
    "particles beyond floats": (lambda: pr.sample(problem(), BEYOND, kind="sobol"), "m = "),
    "nodes beyond memory": (lambda: pr.sample(problem(), 10**9, kind="quadrature"), "rule"),
    "a seed by name": (lambda: pr.sample(problem(), 3, seed="a"), "seed = 'a'"),
    "a seed below 0": (lambda: pr.sample(problem(), 3, seed=-1), "seed = -1"),
    "a seed of nan": (lambda: pr.sample(problem(), 3, seed=np.nan), "seed = nan"),
    "a sample of nothing": (lambda: pr.sample(None, 3), "problem"),
    "a flow of nothing": (lambda: pr.run(None, cloud(), pr.Descent(0.01), TIMES), "problem"),
    "times that are dates": (lambda: ran(times=DATES), "times"),
    "times that are days": (lambda: ran(times=DAYS), "times"),
    "times in text": (lambda: ran(times=["0", "0.01"]), "times"),
    "times masked": (lambda: ran(times=np.ma.masked_greater([0.0, 0.01], 0)), "masked"),
    "times complex": (lambda: ran(times=np.array([0, 1 + 1j])), "times"),
    "times beyond floats": (lambda: ran(times=[0, BEYOND]), "times"),
    "a particle's method of densities": (lambda: ran(method=mf.upwind()), "method"),
    "particles without slopes": (lambda: ran(problem(activation=mf.heaviside)), "gradient"),
    "particles without dK": (lambda: ran(kernel(), cloud=pr.Cloud([[0.0]])), "dK"),
    "a descent beyond floats": (lambda: pr.Descent(BEYOND), "dt"),
    "a descent of two": (lambda: pr.Descent([0.1, 0.2]), "dt"),
    "a tolerance beyond floats": (lambda: pr.GradientFlow(rtol=BEYOND), "rtol"),
    "a tolerance in bytes": (lambda: pr.GradientFlow(rtol=b"1e-3"), "rtol"),
    "an integrator in a list": (lambda: pr.GradientFlow(integrator=["RK45"]), "integrator"),
    "a truth of nothing": (lambda: pr.Truth(None, 1.0), "problem"),
    "a truth until beyond floats": (lambda: pr.Truth(problem(), BEYOND), "horizon"),
    "a truth of kinks": (lambda: pr.Truth(problem(activation=mf.relu), 1.0), "second deriv"),
    "a network by halves": (lambda: network(2.5), "2.5 neurons"),
    "a network beyond floats": (lambda: network(BEYOND), "neurons"),
    "a network without end": (lambda: network(np.inf), "neurons"),
    "a network's activation in a list": (lambda: network(activation=["relu"]), "activation"),
    "a network's seed by name": (lambda: network(seed="a"), "seed"),
    "a network's inputs of nan": (lambda: network().forward([[np.nan]]), "X"),
    "a network's inputs in text": (lambda: network().forward([["1"]]), "X"),
    "a network's targets of nan": (lambda: trained(y=Y * np.nan), "y"),
    "a network's steps by halves": (lambda: trained(n_steps=2.5), "n_steps"),
    "a network's steps without end": (lambda: trained(n_steps=np.inf), "n_steps"),
    "a network's rate beyond floats": (lambda: trained(lr=BEYOND), "lr"),
    "a distance beyond floats": (
        lambda: pr.wasserstein_distance([[1e200]], [[-1e200]]),
        "other units",
    ),
    # comparing
    "nothing and nothing": (lambda: mf.compare(None, None), "None is not a run"),
    "a run and nothing": (lambda: mf.compare(run(), None), "None is not a run"),
    "a run and an array": (lambda: mf.compare(run(), X), "is not a run"),
    "a run and flows with a gap": (lambda: mf.compare(run(), [flow(), None]), "None is not"),
    "several on the left": (lambda: mf.compare([run()], flow()), "is not a run"),
    "a problem and a flow": (lambda: mf.compare(problem(), flow()), "is not a run"),
    "exact by a word": (lambda: mf.compare(run(), flow(), exact="no"), "exact"),
    "only a number": (lambda: mf.compare(run(), flow(), only=3), "only = 3"),
    "only in lists": (lambda: mf.compare(run(), flow(), only=[["risk_gap"]]), "only"),
    "a flow without times": (lambda: mf.compare(run(), flow().drop_vars("time")), "time"),
    "a flow of dates": (
        lambda: mf.compare(run(), flow().assign_coords(time=DATES.astype("datetime64[ns]"))),
        "time holds",
    ),
    "a flow without attributes": (lambda: mf.compare(run(), flow().drop_attrs()), "geometry"),
    **{
        f"a run without {part}": (lambda part=part: mf.compare(run().drop_vars(part), flow()), part)
        for part in ("risk", "prediction", "x", "y", "weight", "a_edges", "time")
    },
    "a measure of nothing": (lambda: mf.as_measure(None), "None is not a run"),
    "a measure of an array": (lambda: mf.as_measure(end().rho), "DataArray"),
    "a measure without edges": (lambda: mf.as_measure(end().drop_vars("a_edges")), "a_edges"),
    "a measure without weights": (
        lambda: mf.as_measure(flow().isel(time=0).drop_vars("weight")),
        "weight",
    ),
    "a measure at nan": (
        lambda: mf.as_measure(flow().isel(time=0).assign(position=flow().position[0] * np.nan)),
        "positions",
    ),
    "a complex measure": (lambda: mf.as_measure(end().assign(rho=end().rho * 1j)), "rho holds"),
    "a prune in text": (lambda: mf.as_measure(end(), "0"), "prune = '0'"),
    "a prune of nan": (lambda: mf.as_measure(end(), np.nan), "prune = nan"),
    "an order of no function": (lambda: mf.order(1.0, [8, 16]), "error = 1.0"),
    "an order on words": (lambda: mf.order(lambda n: 1 / n, ["a", "b"]), "cells"),
    "an order beyond floats": (lambda: mf.order(lambda n: 1 / n, [8, BEYOND]), "cells"),
    "an order of arrays": (lambda: mf.order(lambda n: np.ones(2), [8, 16]), "(2, 2)"),
    "an order of words": (lambda: mf.order(lambda n: "small", [8, 16]), "errors"),
    "a prediction by nothing": (lambda: mf.predict(None, end(), X), "two_layer"),
    "a prediction by a kernel": (lambda: mf.predict(kernel(), end(), X), "two_layer"),
    "a prediction of nothing": (lambda: mf.predict(problem(), None, X), "None is not a run"),
    "a prediction by another": (lambda: mf.predict(problem(bias=True), end(), X), "coordinates"),
    "a prediction nowhere": (lambda: mf.predict(problem(), end(), []), "x has shape (0,)"),
    "no truth": (lambda: mf.true_error(run(), None), "no truth"),
    "a truth not made": (lambda: mf.true_error(run(), Truth), "truth"),
    "a truth of another shape": (
        lambda: mf.true_error(run(), Truth(lambda p: np.zeros(3))),
        "density has shape (3,)",
    ),
    "a truth of nan": (
        lambda: mf.true_error(run(), Truth(lambda p: np.full(len(p), np.nan))),
        "not finite",
    ),
    "a truth of other samples": (
        lambda: mf.true_error(run(), Truth(prediction=np.zeros(3))),
        "prediction has shape (3,)",
    ),
    "nodes of a truth by halves": (lambda: mf.true_error(run(), Truth(), 1.5), "nodes = 1.5"),
    "nodes of a truth beyond": (lambda: mf.true_error(run(), Truth(), 10**6), "nodes"),
    "an error by nothing": (lambda: mf.estimated_error(None, None), "None is not a run"),
    # files
    "a folder that is None": (lambda: mf.load(None), "path"),
    "a folder that is bytes": (lambda: mf.load(b"run"), "path"),
    "no folder": (lambda: mf.load("nowhere"), "nowhere holds no run"),
    "a folder of something else": (lambda: mf.load("."), "manifest"),
    "a place that is taken": (lambda: solve(to=".."), "exists"),
}


def test_a_time_without_end_is_a_stop(here):
    """Known only from the first step: it stops at once, and at its first state."""
    with pytest.raises(mf.NumericalStop, match="step vanished") as stop:
        solve(times=[0, 1e308])
    assert stop.value.last.sizes["time"] == 1
    assert not list(here.iterdir())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case, here):
    call, named = REFUSED[case]
    with pytest.raises((MfpdeError, pr.InvalidInput)) as refusal:
        call()
    text = str(refusal.value)
    assert named in text
    assert len(text) < 1000
    assert len(text.splitlines()) <= 12  # some name an array over several
    assert isinstance(refusal.value, (ValueError, NotImplementedError, AlreadyExists))
    assert not list(here.iterdir())


# Inputs that must work ----------------------------------------------------------------------------


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "given",
    [
        list,
        tuple,
        read_only,
        np.float32,
        pd.Series,
        lambda v: xr.DataArray(v, dims="n"),
        lambda v: np.repeat(v, 2)[::2],  # not contiguous
        lambda v: v.astype(object),
        lambda v: v.astype(">f8"),
        lambda v: np.ma.masked_greater(v, 100),  # nothing is masked
        lambda v: pd.Series(v, dtype="Float64"),
    ],
)
def test_anything_that_holds_numbers_is_data(given):
    """To the bit what an array of float64 gives, or of float32 where that was given."""
    x, y = given(X), given(Y)
    exact = np.asarray(x).dtype != np.float32
    posed = mf.two_layer(x, y)
    np.testing.assert_array_equal(posed.x, X if exact else X.astype(np.float32))
    np.testing.assert_array_equal(posed.y, Y if exact else Y.astype(np.float32))
    assert posed.x.dtype == posed.y.dtype == np.float64
    np.testing.assert_array_equal(pr.Cloud(np.asarray(x)[:, None]).position[:, 0], posed.x)


def test_a_caller_keeps_his_arrays():
    """What is handed over is copied: neither side can change the other's."""
    x, y, p = X.copy(), Y.copy(), np.full(6, 1 / 6)
    posed = mf.two_layer(x, y, weights=p)
    for mine, kept in ((x, posed.x), (y, posed.y), (p, posed.weights)):
        assert mine.flags.writeable
        assert not kept.flags.writeable
        mine[:] = 7
        assert not (kept == 7).any()


def test_columns_of_a_table_are_inputs():
    table = pd.DataFrame({"u": X, "v": X**2, "y": Y})
    posed = mf.two_layer(table[["u", "v"]], table["y"])
    np.testing.assert_array_equal(posed.inputs, np.column_stack([X, X**2]))


def test_messages_hold_no_arrays():
    """A million wrong numbers take no more room than one."""
    with pytest.raises(mf.InvalidInput) as refusal:
        mf.two_layer(np.full(10**6, "1"), np.zeros(10**6))
    assert len(str(refusal.value)) < 300
    assert re.search(r"shape \(1000000,\)", str(refusal.value))
