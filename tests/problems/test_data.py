"""Data: the bundled set, the strict reader with everything it refuses, and standardisation."""

import os

import numpy as np
import pytest

from mfpde.errors import InvalidInput
from mfpde.problems import data
from mfpde.problems.data import motorcycle, read_csv, standardise


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_motorcycle_is_the_published_data():
    """Facts of the published table: 133 readings at 94 times, extremes -134 g and 75 g."""
    x, y = motorcycle()
    assert x.shape == y.shape == (133,)
    assert (x[0], x[-1], y.min(), y.max()) == (2.4, 57.6, -134.0, 75.0)
    assert len(np.unique(x)) == 94
    assert (np.diff(x) >= 0).all()


def test_columns_are_taken_by_name_in_the_order_asked(write):
    path = write("\ufeffu, v ,w\n1,2,3\n4,5,6\n4,5,6\n\n")
    x, y = read_csv(path, ["w", "u"], "v")
    np.testing.assert_array_equal(x, [[3, 1], [6, 4], [6, 4]])
    np.testing.assert_array_equal(y, [2, 5, 5])
    assert read_csv(str(path), ["u"], "v")[0].shape == (3,)
    assert read_csv(path, "u", "v")[0].shape == (3,)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_quotes_line_ends_and_other_columns_do_not_matter(write, newline):
    path = write(newline.join(["name,x,y", '"a, b",1e-3," 2 "', "nan,-.5,+3"]))
    x, y = read_csv(path, ["x"], "y")
    np.testing.assert_array_equal(x, [1e-3, -0.5])
    np.testing.assert_array_equal(y, [2, 3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("x,y\n", r"0 row\(s\)"),
        ("x,y\n1,2\n", r"1 row\(s\)"),
        ("x,y\n1,2\n3\n", r"line 3: 1 field\(s\) where the header has 2"),
        ("x,y\n1,2\n\n3,4\n", "line 3: 0 field"),
        ("x,y\n1,2\n3,4,5\n", "line 3: 3 field"),
        ("x,z\n1,2\n3,4\n", "no column 'y'.*it has x, z"),
        ("x,y,y\n1,2,3\n3,4,5\n", "2 columns 'y'"),
        ("x,y\n1,2\n3,four\n", "line 3, column 'y': 'four'"),
        ("x,y\n1,2\n3,\n", "line 3, column 'y': ''"),
        ("x,y\n1_0,2\n3,4\n", "line 2, column 'x': '1_0'"),
        ("x,y\nnan,2\n3,4\n", "line 2, column 'x': 'nan'"),
        ("x,y\n1,2\n3,-inf\n", "line 3, column 'y': '-inf'"),
        ("x,y\n1,2\n3,1e999\n", "line 3, column 'y': '1e999'"),
        ("x;y\n1;2\n3;4\n", "semicolons; only commas"),
        ("x\ty\n1\t2\n3\t4\n", "tabs; only commas"),
        ('x,y\n1,"2\n3,4\n', "line 3"),
        (b"x,y\n1,\xe9\n2,3\n", "not UTF-8 text: byte 6"),
        (b"x,y\n1,2\n3,\x00\n", "NUL"),
        ("x,y\n1," + "2" * 200_000 + "\n3,4\n", "field limit"),
    ],
)
def test_a_bad_file_is_refused_and_the_place_named(write, content, message):
    with pytest.raises(InvalidInput, match=f"(?s)table.csv.*{message}"):
        read_csv(write(content), ["x"], "y")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [(["x"], "x", "twice"), (["x", "x"], "y", "twice"), ([], "y", "no input column")],
)
def test_columns_must_be_asked_for_once(write, x, y, message):
    with pytest.raises(InvalidInput, match=message):
        read_csv(write("x,y\n1,2\n3,4\n"), x, y)


def test_only_regular_files_of_reasonable_size_are_read(tmp_path, write, monkeypatch):
    with pytest.raises(InvalidInput, match="no file"):
        read_csv(tmp_path / "absent.csv", ["x"], "y")
    with pytest.raises(InvalidInput, match="not a regular file"):
        read_csv(tmp_path, ["x"], "y")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="not a regular file"):
        read_csv(tmp_path / "pipe", ["x"], "y")
    monkeypatch.setattr(data, "LARGEST_FILE", 10)
    with pytest.raises(InvalidInput, match="at most"):
        read_csv(write("x,y\n1,2\n3,4\n"), ["x"], "y")


@pytest.mark.parametrize("shape", [(50,), (50, 3)])
def test_standardised_columns_have_mean_zero_and_deviation_one(shape):
    v = 100 + 7 * np.random.default_rng(2).normal(size=shape)
    z, mean, std = standardise(v)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose((z**2).mean(axis=0), 1, rtol=1e-13)
    np.testing.assert_allclose(mean + std * z, v, rtol=1e-14)


@pytest.mark.parametrize(
    ("v", "message"),
    [
        ([0.1] * 7, "the column is constant"),
        (np.column_stack([np.arange(7), np.full(7, 0.1)]), "column 1 is constant"),
        ([[1.0, 2.0], [np.nan, 3.0]], "column 0 holds"),
        ([], "shape"),
        (np.ones((2, 2, 2)), "shape"),
    ],
)
def test_what_cannot_be_standardised_is_refused(v, message):
    with pytest.raises(InvalidInput, match=message):
        standardise(v)
