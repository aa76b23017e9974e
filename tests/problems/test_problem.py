"""What a problem refuses, keeps from being changed, and says of its network."""

import math

import numpy as np
import pytest

import mfpde as mf
from mfpde.errors import InvalidInput
from mfpde.problems.two_layer import with_bias

X, Y = np.linspace(-1.0, 1.0, 6), np.array([-1.0, -0.5, -0.4, 0.6, 0.2, 1.5])
THETA = np.array([[0.3], [-0.8]])


def features(phi=lambda q: np.cos(q), dphi=None, coords=("u",), **parts):
    """One sample, and so one feature."""
    return mf.Problem(coords, phi, dphi, mf.square([1.0]), **parts)


def kernel(**parts):
    return mf.kernel_problem(("u",), lambda p, q: p @ q.T, lambda p: p[:, 0], **parts)


def branching(z):
    return z if z > 0 else 0.0


REFUSED = {
    # numbers
    "weights in words": (lambda: mf.two_layer(X, Y, weights="abc"), "weights is not an array"),
    "no entropy": (lambda: mf.two_layer(X, Y, entropy=None), "entropy = None"),
    "entropy in words": (lambda: mf.two_layer(X, Y, entropy="a"), "entropy = 'a'"),
    "complex inputs": (lambda: mf.two_layer(X + 1j, Y), "x is not an array of numbers"),
    "a column of targets": (lambda: mf.two_layer(X, Y[:, None]), "fix      y.ravel()"),
    "a constant in words": (lambda: kernel(const="a"), "const = 'a'"),
    # objects
    "an activation by name": (
        lambda: mf.two_layer(X, Y, activation="tanh"),
        "an Activation\n  fix      mf.tanh, or mf.Activation(value, slope)",
    ),
    "a loss already bound": (
        lambda: mf.two_layer(X, Y, loss=mf.square(Y)),
        "mf.square, not mf.square(y)",
    ),
    "a loss not bound": (
        lambda: mf.Problem(("u",), np.cos, None, mf.square),
        "bind it to the targets: mf.square(y)",
    ),
    "a law that is an array": (
        lambda: mf.two_layer(X, Y, initial=np.zeros(1000)),
        "initial = an array of shape (1000,)",
    ),
    "a kernel's law that is none": (lambda: kernel(initial=1.0), "it must be a Law"),
    "a kernel's penalty that is none": (lambda: kernel(penalty=1.0), "it must be a Penalty"),
    # shapes
    "a penalty of another shape": (
        lambda: features(penalty=mf.Penalty(lambda u: u**2, lambda u: 2 * u)),
        "the penalty's value maps points (2, 1) to (2, 1)",
    ),
    "a penalty's gradient of another shape": (
        lambda: features(penalty=mf.Penalty(lambda u: u[:, 0], lambda u: u[:, 0])),
        "the penalty's gradient maps points (2, 1) to (2,)",
    ),
    "a kernel's penalty of another shape": (
        lambda: kernel(penalty=mf.Penalty(lambda u: 1.0, lambda u: 2 * u)),
        "the penalty's value maps points (2, 1) to ()",
    ),
    "a gradient of another shape": (
        lambda: features(dphi=lambda q: -np.sin(q)),
        "dphi maps points (2, 1) to (2, 1)",
    ),
    "a Hessian of another shape": (
        lambda: features(d2phi=lambda q: -np.cos(q)),
        "d2phi maps points (2, 1) to (2, 1)",
    ),
    "complex features": (lambda: features(lambda q: np.exp(1j * q)), "phi returns complex128"),
    "features that are no numbers": (lambda: features(lambda q: q.astype(str)), "phi returns <U"),
    "features of one point": (lambda: features(branching), "np.maximum and np.where"),
    "an activation that branches": (
        lambda: mf.two_layer(X, Y, activation=mf.Activation(branching)),
        "the value of the activation user fails on points (2, 3)",
    ),
    "an activation of single numbers": (
        lambda: mf.two_layer(X, Y, activation=mf.Activation(math.tanh)),
        "np.tanh in place of math.tanh",
    ),
    "a slope that sums": (
        lambda: mf.two_layer(X, Y, activation=mf.Activation(np.sin, np.sum)),
        "the slope of the activation user maps points (2, 3) to ()",
    ),
    # the output weight
    "nothing beside the output weight": (
        lambda: features(coords=("a",), lifted=True),
        "beside a, the neuron needs",
    ),
    "|a| without a": (
        lambda: mf.two_layer(X, Y, output_weight=False, penalty=mf.total_variation(0.1)),
        "acts on the output weight a",
    ),
    "|a||w| without a": (
        lambda: features(penalty=mf.ridge(1.0) + mf.path_norm(0.1)),
        "their first coordinate is u",
    ),
    "|a| in a kernel without a": (
        lambda: kernel(penalty=mf.total_variation(0.1)),
        "acts on the output weight a",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_paragraph(name):
    make, said = REFUSED[name]
    with pytest.raises(InvalidInput) as refusal:
        make()
    message = str(refusal.value)
    assert said in message
    assert len(message) < 500


def test_an_output_weight_is_there_when_lifted_or_named():
    for penalty in (mf.total_variation(0.1), mf.path_norm(0.1)):
        mf.two_layer(X, Y, penalty=penalty)
        features(lambda q: q[:, :1] * q[:, 1:], coords=("a", "v"), penalty=penalty)
        features(lambda q: np.cos(q), coords=("height", "v"), lifted=True, penalty=penalty)


def test_errors_of_ones_own_functions_are_left_as_they_are():
    """A refusal from within keeps its words, and a plain mistake its traceback."""

    def refuse(q):
        raise InvalidInput("no such feature")

    with pytest.raises(InvalidInput, match="no such feature"):
        features(refuse)
    with pytest.raises(ZeroDivisionError):
        features(lambda q: 1 // 0)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_samples_cannot_be_changed_under_the_features(d, bias):
    given = np.linspace(-1, 1, 6 * d).reshape(6, d) if d > 1 else X.copy()
    problem = mf.two_layer(given, Y, bias=bias)
    theta = np.ones((2, d + bias))
    before = problem.phi(theta)
    for array in (problem.x, problem.inputs, problem.y, problem.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7.0
    given[:] = 7.0  # the caller's array stays his own
    assert np.array_equal(problem.phi(theta), before)


def test_arrays_handed_to_a_problem_stay_the_callers_own():
    x = np.zeros(1)
    problem = features(x=x, inputs=x[:, None])
    x[0] = 7.0
    assert problem.x[0] == problem.inputs[0, 0] == 0
    assert not problem.x.flags.writeable
    assert not problem.inputs.flags.writeable


@pytest.mark.parametrize("bias", [False, True])
def test_directions_are_what_the_weights_multiply(bias):
    inputs = np.column_stack([X, X**2])
    problem = mf.two_layer(inputs, Y, mf.identity, bias=bias)
    assert problem.directions.shape == (6, 2 + bias)
    assert np.array_equal(problem.directions, with_bias(inputs, bias))
    v = np.arange(1.0, 3 + bias)[None]
    z = v[0, 0] * X + v[0, 1] * X**2 + (3.0 if bias else 0.0)
    np.testing.assert_allclose(problem.phi(v)[0], z, rtol=1e-15)
    np.testing.assert_allclose(v @ problem.directions.T, problem.phi(v), rtol=1e-15)
