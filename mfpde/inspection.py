"""What is in a folder, whether it is whole, and what the machine offers: names and values."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import numba
import xarray as xr
from threadpoolctl import threadpool_info

from mfpde import kernels, results
from mfpde.errors import InvalidInput
from mfpde.loop import checkpoint
from mfpde.loop.files import damaged, digest, reported, unsealed
from mfpde.loop.ledger import NAME as COMMIT
from mfpde.loop.machine import available_memory
from mfpde.loop.reading import DONE, MANIFEST, folder_of, load
from mfpde.version import __version__

LIBRARIES = ("numpy", "scipy", "xarray", "numba", "zarr", "fipy", "matplotlib", "POT")
REPORT = "report.html"
READING = "permission to read it"


def shown(path: Path) -> dict[str, str]:
    """What a folder of ``solve``, ``particle_ref.run`` or ``mfpde run`` holds.

    Raises InvalidInput where it holds neither, StorageError where it is damaged.
    """
    folder = folder_of(path)
    with reported(folder, READING):
        if not is_result(folder):
            return described(folder)
        plan = results.plan_in(folder)
        asked = {k: v for k, v in plan.items() if k != results.FILE and v is not None}
        words = (
            f"{k} {' '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in asked.items()
        )
        done = (folder / DONE).exists()
        first = {
            "title": "mfpde run",
            "asked": ", ".join(words),
            "results": "finished" if done else f"not finished: mfpde resume {folder} goes on",
        }
        density = folder / results.DENSITY
        inside = described(density) if (density / COMMIT).exists() else {"density": "not begun"}
        return first | inside | {"title": first["title"], "size": size_of(folder)}


def is_result(folder: Path) -> bool:
    """Whether ``mfpde run`` wrote a folder.

    Raises InvalidInput where no other command or function of ours did either.
    """
    if (folder / results.PLAN).is_file():
        return True
    if not (folder / MANIFEST).is_file():
        if (folder / COMMIT).is_file():
            raise damaged(folder / MANIFEST, "it is missing")
        if (folder / REPORT).is_file():
            raise InvalidInput(
                f"{folder} holds a report and no run",
                "a study writes its answer at the end, whole",
                f"open {folder / REPORT}",
            )
        raise InvalidInput(
            f"{folder} holds nothing of this software" if folder.exists() else f"no {folder}",
            f"there is neither {results.PLAN} nor {MANIFEST} in it",
            "a folder of mfpde run, or of solve(to=…)",
        )
    return False


def described(folder: Path) -> dict[str, str]:
    """One run: a density's or a cloud's."""
    manifest = unsealed(folder / MANIFEST)
    run, times = load(folder), manifest["times"]
    count, done = run.sizes.get("time", 0), (folder / DONE).exists()
    found = {
        "title": run.attrs.get("title", f"run of {run.attrs.get('software', 'other software')}"),
        "problem": run.attrs.get("problem", "not recorded"),
        "method": run.attrs.get("method", "not recorded"),
    }
    if "grid" in run.attrs:
        found["grid"] = run.attrs["grid"]
    if "particle" in run.sizes:
        found["particles"] = f"{run.sizes['particle']:,}"
    found["times"] = f"{len(times)}, from {times[0]:g} to {times[-1]:g}" if times else "none"
    state = "finished" if done else "not finished"
    found["snapshots"] = f"{count} of {len(times)} committed, {state}"
    if count and "energy" in run:
        found["energy"] = f"{float(run.energy[0]):.6g} -> {float(run.energy[-1]):.6g}"
    return found | {"size": size_of(folder)}


def size_of(folder: Path) -> str:
    """What a folder takes on disk."""
    sizes = [path.stat().st_size for path in results.files_below(folder)]
    return f"{sum(sizes) / 1e6:.3g} MB in {len(sizes)} files"


def run_in(path: Path) -> xr.Dataset:
    """The density or the cloud in a folder; of ``mfpde run``, its density.

    Raises InvalidInput where there is none, StorageError where it is damaged.
    """
    folder = folder_of(path)
    with reported(folder, READING):
        inside = is_result(folder)
    return load(folder / results.DENSITY if inside else folder)


def gap_rows(gaps: xr.Dataset) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what ``compare`` found, a row for every time."""
    header = ["time", *(str(name).replace("_", " ") for name in gaps)]
    columns = [gaps.time.values, *(values.values for values in gaps.values())]
    return header, [[f"{value:.4g}" for value in row] for row in zip(*columns, strict=True)]


def verified(path: Path) -> str:
    """Compare every file of a folder with its hash; what was found.

    Raises StorageError, which names the first file that changed or went.
    """
    folder = folder_of(path)
    with reported(folder, READING):
        if not is_result(folder):
            return f"{folder}: {verified_run(folder)}"
        results.verify(folder)
        density = folder / results.DENSITY
        begun = (density / MANIFEST).exists()
        done = (folder / DONE).exists()
        if done and not begun:
            raise damaged(density / MANIFEST, "it is missing")
        told = verified_run(density) if begun else "no density yet"
    return f"{folder}: {told}; results {'are all as written' if done else 'are not there yet'}"


def verified_run(folder: Path) -> str:
    """The same for one run, checkpoints included."""
    unsealed(folder / MANIFEST)
    if not (folder / COMMIT).exists() and not (folder / checkpoint.NAME).exists():
        return "no snapshot yet"
    run: xr.Dataset = load(folder)
    for name in (checkpoint.NAME, checkpoint.PREVIOUS):
        file = folder / name
        if file.exists() and checkpoint.decoded(file.read_bytes()) is None:
            raise damaged(file)
    if (folder / DONE).exists():
        newest = folder / checkpoint.NAME
        written = newest.exists() and digest(newest.read_bytes())
        if written != unsealed(folder / DONE)["state"]:
            raise damaged(newest, "it is not the final state")
    return f"{run.sizes.get('time', 0)} snapshots are as written"


def machine() -> dict[str, str]:
    """Versions, threads, memory, disk, and whether compiled loops are kept."""
    threads = (f"{b['num_threads']} ({b['internal_api']})" for b in threadpool_info())
    return {
        "mfpde": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "system": platform.platform(),
        "BLAS": f"{', '.join(threads) or 'unknown'} threads; sums of a run are made by one",
        "memory": f"{available_memory() / 2**30:.3g} GiB available",
        "disk": f"{shutil.disk_usage('.').free / 2**30:.3g} GiB free here",
        "compiled": cache_of_loops(),
    }


def cache_of_loops() -> str:
    """Where compiled loops are kept, or that they are compiled again in every process."""
    beside = Path(kernels.__path__[0]) / "__pycache__"
    folder = Path(numba.config.CACHE_DIR or beside)  # type: ignore[attr-defined]
    above = next(path for path in (folder, *folder.parents) if path.exists())
    writable = os.access(above, os.W_OK)
    return f"loops are kept in {folder}" if writable else f"{folder} cannot be written"
