"""Runs from anywhere: what a forged folder declares is refused before it is read.

Every forgery carries right hashes: whoever can write the files can write those.
"""

import json

import numpy as np
import pytest
from loop.planted import plain, square

import mfpde as mf
from mfpde.errors import StorageError
from mfpde.loop.files import digest, sealed, unsealed


@pytest.fixture
def folder(tmp_path):
    mf.solve(plain(), square(), mf.upwind(), times=[0, 0.1], to=tmp_path / "run")
    return tmp_path / "run"


def forge(folder, name, change):
    """Change an array's metadata in its own file and in the root's, and the hashes."""
    root, own = folder / "out.zarr/zarr.json", folder / f"out.zarr/{name}/zarr.json"
    for path in (root, own):
        record = json.loads(path.read_text())
        inner = record["consolidated_metadata"]["metadata"][name] if path == root else record
        change(inner)
        path.write_text(json.dumps(record))
    ledger = unsealed(folder / "COMMIT")
    for path in (root, own):
        ledger["files"][path.relative_to(folder / "out.zarr").as_posix()] = digest(
            path.read_bytes()
        )
    (folder / "COMMIT").write_bytes(sealed(ledger))


def pickled(metadata):
    metadata["codecs"] = [{"name": "pickle", "configuration": {}}]


def objects(metadata):
    metadata["data_type"] = "object"


def huge(metadata):
    metadata["shape"][1:] = [10**7, 10**7]
    metadata["chunk_grid"]["configuration"]["chunk_shape"][1:] = [10**7, 10**7]


def nameless(metadata):
    del metadata["codecs"]


def negative(metadata):
    metadata["shape"][0] = -1


def records(metadata):
    metadata["data_type"] = {"name": "structured", "configuration": {"fields": []}}


def grouped(metadata):
    metadata["node_type"] = "group"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (pickled, "pickle"),
        (objects, "object"),
        (huge, "bytes at once"),
        (nameless, "not described"),
        (negative, "shape"),
        (records, "structured"),
        (grouped, "no array"),
    ],
)
def test_forged_arrays(folder, change, says):
    assert np.isfinite(mf.load(folder).rho).all()
    forge(folder, "rho", change)
    with pytest.raises(StorageError, match=says):
        mf.load(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "rho/../../outside"])
def test_names_that_lead_outside(folder, name):
    ledger = unsealed(folder / "COMMIT")
    ledger["files"][name] = digest(b"")
    (folder / "COMMIT").write_bytes(sealed(ledger))
    with pytest.raises(StorageError, match="outside"):
        mf.load(folder)


def test_links_are_not_followed(folder, tmp_path):
    chunk = next((folder / "out.zarr/rho").glob("0.*"))
    secret = tmp_path / "secret"
    secret.write_bytes(chunk.read_bytes())
    chunk.unlink()
    chunk.symlink_to(secret)
    with pytest.raises(StorageError, match="link"):
        mf.load(folder)


@pytest.mark.parametrize(
    "text", ["[1, 2]", "{", "[" * 100_000, '{"consolidated_metadata": {"metadata": [1]}}']
)
def test_metadata_that_are_no_record(folder, text):
    root = folder / "out.zarr/zarr.json"
    root.write_text(text)
    ledger = unsealed(folder / "COMMIT")
    ledger["files"]["zarr.json"] = digest(root.read_bytes())
    (folder / "COMMIT").write_bytes(sealed(ledger))
    with pytest.raises(StorageError, match=r"zarr\.json"):
        mf.load(folder)
