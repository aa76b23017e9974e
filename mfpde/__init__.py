"""The mean-field limit of two-layer networks, solved as a continuity equation on grids."""

import mfpde.signals  # noqa: F401 first: watches over what takes the command line long to load
from mfpde.comparison import compare, order
from mfpde.error_budget import budget
from mfpde.errors import InvalidInput, MassEscaped, NotEnoughMemory, NumericalStop
from mfpde.fitting import fit_grid
from mfpde.flows.wasserstein import WassersteinFlow
from mfpde.grids import Axis, Grid, periodic, stretched, uniform
from mfpde.loop.forecast import Forecast, forecast
from mfpde.loop.netcdf import export
from mfpde.loop.solver import solve
from mfpde.loop.store import load, store
from mfpde.measures import as_measure, estimated_error, in_window, true_error
from mfpde.measures.regime import regime
from mfpde.measures.shares import Budget
from mfpde.methods.fipy_backend import fipy
from mfpde.methods.muscl import muscl
from mfpde.methods.pushforward import pushforward
from mfpde.methods.scharfetter_gummel import scharfetter_gummel
from mfpde.methods.semi_lagrangian import semi_lagrangian
from mfpde.methods.step import Method
from mfpde.methods.upwind import upwind
from mfpde.methods.weno import weno5
from mfpde.optimality.certificate import certificate
from mfpde.optimality.optimum import Optimum, optimum
from mfpde.prediction import potential, predict
from mfpde.problems.activations import (
    Activation,
    cos,
    erf,
    heaviside,
    identity,
    leaky_relu,
    quadratic,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from mfpde.problems.geometry import Geometry, circle, half_line, interval, line, sphere
from mfpde.problems.kernel import KernelProblem, kernel_problem
from mfpde.problems.laws import Law, gaussian, mixture, point, product, shell, uniform_box
from mfpde.problems.losses import BoundLoss, Loss, huber, logistic, square
from mfpde.problems.penalties import Penalty, no_penalty, path_norm, ridge, total_variation
from mfpde.problems.problem import Problem
from mfpde.problems.spikes import Kernel, dirichlet, spikes
from mfpde.problems.two_layer import two_layer
from mfpde.version import __version__

__all__ = [
    "Activation",
    "Axis",
    "BoundLoss",
    "Budget",
    "Forecast",
    "Geometry",
    "Grid",
    "InvalidInput",
    "Kernel",
    "KernelProblem",
    "Law",
    "Loss",
    "MassEscaped",
    "Method",
    "NotEnoughMemory",
    "NumericalStop",
    "Optimum",
    "Penalty",
    "Problem",
    "WassersteinFlow",
    "__version__",
    "as_measure",
    "budget",
    "certificate",
    "circle",
    "compare",
    "cos",
    "dirichlet",
    "erf",
    "estimated_error",
    "export",
    "fipy",
    "fit_grid",
    "forecast",
    "gaussian",
    "half_line",
    "heaviside",
    "huber",
    "identity",
    "in_window",
    "interval",
    "kernel_problem",
    "leaky_relu",
    "line",
    "load",
    "logistic",
    "mixture",
    "muscl",
    "no_penalty",
    "optimum",
    "order",
    "path_norm",
    "periodic",
    "point",
    "potential",
    "predict",
    "product",
    "pushforward",
    "quadratic",
    "regime",
    "relu",
    "ridge",
    "scharfetter_gummel",
    "semi_lagrangian",
    "shell",
    "sigmoid",
    "softplus",
    "solve",
    "sphere",
    "spikes",
    "square",
    "store",
    "stretched",
    "tanh",
    "total_variation",
    "true_error",
    "two_layer",
    "uniform",
    "uniform_box",
    "upwind",
    "weno5",
]
