"""The scorecard of docs/RELIABILITY.md: every claim, put to the test at its full count.

    python tests/faults/scorecard.py [ROW ...]

Without names all rows are run, in less than half an hour on two cores. Results are kept in
build/scorecard.json and the table of the page is made of them, so that rows may be run one by one.
Rows that measure nothing use two processes.
"""

import io
import json
import multiprocessing
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from faults import disk, memory, mutants, power  # noqa: E402

import mfpde as mf  # noqa: E402
from mfpde.errors import AlreadyExists, InvalidInput, StorageError  # noqa: E402
from mfpde.loop import solver  # noqa: E402

PAGE = ROOT / "docs" / "RELIABILITY.md"
RESULTS = ROOT / "build" / "scorecard.json"
BEGIN, END = "<!-- scorecard: begin -->", "<!-- scorecard: end -->"


class Row(NamedTuple):
    """One line of the table; ``passed`` is None where nothing was run."""

    claim: str
    goal: str
    counts: str
    passed: bool | None
    seconds: float


def timed(claim: str, goal: str, check: Callable[[], tuple[str, bool | None]]) -> Row:
    """A row, and how long it took."""
    begun = time.monotonic()
    counts, passed = check()
    return Row(claim, goal, counts, passed, round(time.monotonic() - begun, 1))


class Case(NamedTuple):
    """One case of a test, and what it recorded of itself."""

    test: str
    parameters: str
    passed: bool
    recorded: list[tuple[str, str]]


def cases(where: str, which: str = "", processes: int = 2, **environment: str) -> list[Case]:
    """The cases of a file that match ``which``, without those that were skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-o", "junit_family=xunit1"]  # which knows properties
        command += [
            "-n",
            str(processes),
            f"tests/faults/{where}",
            f"--junitxml={report}",
            *(["-k", which] * bool(which)),
        ]
        subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        found = ElementTree.parse(report).getroot().iter("testcase")
        return [case_of(one) for one in found if one.find("skipped") is None]


def case_of(element: ElementTree.Element) -> Case:
    """A case as pytest reports it."""
    test, _, parameters = element.get("name", "").partition("[")  # none: its process crashed
    recorded = [(one.attrib["name"], one.attrib["value"]) for one in element.iter("property")]
    passed = test != "" and element.find("failure") is None and element.find("error") is None
    return Case(test, parameters.removesuffix("]"), passed, recorded)


def of(found: Iterable[Case], what: str) -> str:
    """How many of them hold."""
    held = [case.passed for case in found]
    return f"{sum(held)} of {len(held)} {what}"


def held(found: Sequence[Case]) -> bool:
    """Whether all of them do, and there are some."""
    return all(case.passed for case in found) and len(found) > 0


def tried(where: str, **environment: str) -> tuple[str, bool]:
    """A file whose cases are counted as they are."""
    found = cases(where, **environment)
    return of(found, "cases"), held(found)


# Killed at any instant ----------------------------------------------------------------------------

KILLS = 100
CHILD = """
import sys
from pathlib import Path
from faults import disk
print("begins", flush=True)
disk.LONG[sys.argv[1]](Path(sys.argv[2]))
"""


def killed(name: str, folder: Path, after: float) -> bool:
    """Start a run in a process of its own and kill it; whether it had not ended by itself."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, name, str(folder)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    return child.returncode == -signal.SIGKILL


def kills_of(name: str, count: int) -> tuple[int, int]:
    """Of so many kills: how many runs went on bitwise, and how many had not ended by themselves."""
    run, rng = disk.LONG[name], random.Random(f"kills of {name}")
    truth, right, within = disk.bits(run(None)), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        length = lasting(lambda: run(Path(folder) / "run"))
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            within += killed(name, path, rng.uniform(0, length))
            whole = disk.bits(run(path)) == truth
            right += whole and disk.leftovers(path) == [] and (path / "DONE").exists()
    return right, within


def kills() -> Row:
    """Half of the runs are densities, half particles; instants are uniform over a run's length."""

    def check() -> tuple[str, bool]:
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
            found = list(executor.map(kills_of, disk.LONG, [KILLS // 2] * 2))
        right, within = map(sum, zip(*found, strict=True))
        told = f"{right} of {KILLS} bitwise; {within} killed before their end"
        return told, right == KILLS

    return timed("kill -9 at a random instant, density and particles", "100 resume bitwise", check)


def lasting(run: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = time.monotonic()
    run()
    return time.monotonic() - begun


SMALL = disk.density(mf.upwind())


# The rows that are tests --------------------------------------------------------------------------


KINDS = {
    "put": "writes",
    "force": "fsyncs",
    "rename": "renames",
    "remove": "unlinks",
    "make": "mkdirs",
}
EVERYWHERE = "upwind, semi-Lagrangian, particles"


def everywhere(which: str) -> tuple[str, bool]:
    """Every operation on files of small runs, by its kind."""
    found = cases("test_everywhere.py", which, MFPDE_FAULTS="0")
    right = Counter[str]()
    for case in found:
        for kind, count in case.recorded:
            right[kind] += int(count)
    kinds = ", ".join(f"{right[kind]} {word}" for kind, word in KINDS.items())
    failed = sum(not case.passed for case in found)
    told = f"{right.total()} operations right ({kinds})"
    return f"{told}; {failed} of {len(found)} series fail" if failed else told, held(found)


def crashes() -> Row:
    """Processes that end, and machines that lose what was not forced to disk."""
    return timed(
        f"a stop at every operation, with and without power lost ({EVERYWHERE})",
        "all resume bitwise",
        lambda: everywhere("test_a_stop"),
    )


def refusals() -> Row:
    """A disk without room, and one that fails."""
    return timed(
        f"no space, and I/O error, at every operation ({EVERYWHERE})",
        "exit code 5, one paragraph, committed snapshots readable, resume bitwise",
        lambda: everywhere("test_a_refusal"),
    )


def read_only() -> Row:
    """Fresh and begun runs, by the command line and by scripts."""
    return timed(
        "folders without permission to write, fresh and begun",
        "exit code 5, one paragraph, nothing changed, resume bitwise",
        lambda: tried("test_read_only.py", MFPDE_FAULTS="0"),
    )


def power_cuts() -> Row:
    """An ext4 file system, shut down under a run."""
    return timed(
        "power cut at a random instant, density and particles",
        "nothing acknowledged lost, all resume bitwise",
        power.outcome,
    )


FULL_DISKS = 8
FILLED = "from faults import scorecard; scorecard.filled()"
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]  # may mount without being root
PAGE_BYTES = 4096


def full_disks() -> Row:
    """File systems in memory of several sizes, on which the run does not fit."""
    claim, goal = "8 sizes of a small full file system", "exit code 5, readable, resume bitwise"
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        return Row(claim, goal, "skipped: no file system may be mounted here", None, 0.0)

    def check() -> tuple[str, bool]:
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        with tempfile.TemporaryDirectory() as folder:
            SMALL(Path(folder) / "run")
            sizes = [len(data) for data in disk.everything(Path(folder)).values()]
            whole = sum(-(-size // PAGE_BYTES) for size in sizes)
            good = 0
            for share in np.linspace(0.05, 0.95, FULL_DISKS):
                room = f"size={max(1, int(share * whole)) * PAGE_BYTES}"
                mount = f'mount -t tmpfs -o {room} none "$1" && exec "$2" -c "$3" "$1"'
                child = subprocess.run(
                    [*NAMESPACE, "sh", "-c", mount, "sh", folder, sys.executable, FILLED],
                    env=os.environ | {"PYTHONPATH": path},
                    check=False,
                )
                good += child.returncode == 0
        return f"{good} of {FULL_DISKS} as they should be", good == FULL_DISKS

    return timed(claim, goal, check)


def filled() -> None:
    """In a process whose argument is a file system without room: refused, then given room."""
    solver.check_room = lambda *call: None  # there was room when the run began
    place = Path(sys.argv[1])
    folder, truth = place / "run", disk.bits(SMALL(None))
    with pytest.raises(StorageError):  # which the command line turns into exit code 5
        SMALL(folder)
    if (folder / "COMMIT").exists():
        disk.bits(mf.load(folder))
    subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
    assert disk.bits(SMALL(folder)) == truth
    assert disk.leftovers(folder) == []


SPOILED = 200


def spoiling() -> Row:
    """Bits, ends and whole files, of finished and interrupted runs, densities and particles."""

    def check() -> tuple[str, bool]:
        found = cases("test_spoiled.py", MFPDE_FAULTS=str(SPOILED))
        flips, cuts = (
            [c for c in found if c.parameters.startswith(how)] for how in ("flipped", "cut_short")
        )
        told = Counter(value for case in flips + cuts for _, value in case.recorded)
        gone = [c for c in found if c.test == "test_a_file_that_is_gone"]
        named = sum(len(case.recorded) for case in gone)
        words = f"{of(flips, 'flips')}, {of(cuts, 'truncations')} met: {told['named']} named, "
        words += f"{told['made good']} without effect on a bit; "
        words += f"{named} of {named + sum(not c.passed for c in gone)} deletions named"
        return words, held(found)

    return timed(
        "bit flips and truncations of store, COMMIT, checkpoint; each chunk deleted",
        "200 and 200: none silent, the file named",
        check,
    )


SIGNALS = {"SIGINT": 20, "SIGTERM": 20, "limits": 10}
PROMPT = 2.0  # seconds, and a step, which is short here


def signals() -> Row:
    """Those of the command line are timed."""

    def check() -> tuple[str, bool]:
        found = cases("test_signals.py", processes=0, MFPDE_FAULTS="20")  # some go to this very one
        sent = [
            (kind, case.passed, float(seconds)) for case in found for kind, seconds in case.recorded
        ]
        right = Counter(kind for kind, passed, _ in sent if passed)
        longest = max(seconds for _, _, seconds in sent)
        told = ", ".join(f"{right[kind]} of {count} {kind}" for kind, count in SIGNALS.items())
        others = of((case for case in found if not case.recorded), "other cases")
        passed = held(found) and dict(right) == SIGNALS and longest <= PROMPT
        return f"{told}, the slowest after {longest:.1f} s; {others}", passed

    return timed(
        "SIGINT, SIGTERM, limits in time at random, a quarter in the first 200 ms",
        "20, 20, 10: exit code within 2 s and a step, no traceback, resume bitwise",
        check,
    )


WRITERS = 40


def writers() -> Row:
    """Second writers, other runs, foreign folders: refused, and not a byte changed."""

    def check() -> tuple[str, bool]:
        refused = 0
        for k in range(WRITERS):
            with tempfile.TemporaryDirectory() as above:
                folder = Path(above) / "run"
                refused += WAYS[k % len(WAYS)](folder, k)
        return f"{refused} of {WRITERS} refused, nothing changed", refused == WRITERS

    return timed("second writers and existing folders", "40 refusals, nothing changed", check)


def unchanged(folder: Path, call: Callable[[], object], error: type[Exception]) -> bool:
    """Whether a call is refused and leaves every file as it is."""
    before = disk.everything(folder)
    try:
        call()
    except error:
        return disk.everything(folder) == before
    return False


def second_writer(folder: Path, k: int) -> bool:
    """While another process holds the lock of a run that stopped somewhere."""
    with suppress(disk.Crash), disk.failing(at=100 + k):
        SMALL(folder)
    with (folder / ".lock").open() as lock:
        holder = subprocess.Popen(["flock", "--exclusive", "--no-fork", lock.name, "sleep", "60"])
        wait_for_lock(lock.name)
        try:
            return unchanged(folder, lambda: SMALL(folder), AlreadyExists)
        finally:
            holder.kill()
            holder.wait()


def wait_for_lock(name: str) -> None:
    """Until someone holds it."""
    while subprocess.run(["flock", "--nonblock", name, "true"], check=False).returncode == 0:
        time.sleep(0.01)


def foreign_folder(folder: Path, k: int) -> bool:
    """A folder of someone else's."""
    folder.mkdir()
    (folder / f"notes{k}.txt").write_text("mine")
    return unchanged(folder, lambda: SMALL(folder), AlreadyExists)


def another_run(folder: Path, k: int) -> bool:
    """A finished run by another method."""
    SMALL(folder)
    other = disk.density(mf.upwind(cfl=0.1 + 0.01 * k))
    return unchanged(folder, lambda: other(folder), InvalidInput)


def foreign_manifest(folder: Path, k: int) -> bool:
    """A manifest that is not ours."""
    folder.mkdir()
    (folder / "manifest.json").write_text(f'{{"name": {k}}}')
    return unchanged(folder, lambda: SMALL(folder), StorageError)


WAYS = (second_writer, foreign_folder, another_run, foreign_manifest)


def malformed() -> Row:
    """Generated files and arguments, and those of the table."""

    def check() -> tuple[str, bool]:
        found = cases("test_csv.py", MALFORMED_CALLS="200")
        files = [c for c in found if c.test == "test_a_malformed_file_is_refused"]
        lists = [c for c in found if c.test == "test_arguments_without_meaning_are_refused"]
        others = [c for c in found if c not in files + lists]
        kinds = ((files, "files"), (lists, "argument lists"), (others, "other cases"))
        return ", ".join(of(*kind) for kind in kinds), held(found)

    return timed(
        "200 malformed CSVs and argument lists",
        "one paragraph naming the place, exit code 2, nothing written",
        check,
    )


def invalid() -> Row:
    """Every entry point."""
    return timed(
        "40 invalid inputs to solve, run, compare and the rest",
        "typed errors or documented results",
        lambda: tried("test_inputs.py"),
    )


def blowups() -> Row:
    """Planted in a chosen step."""
    return timed(
        "20 forced blow-ups",
        "stopped in that step, nothing non-finite or negative stored, last checkpoint good",
        lambda: tried("test_blowups.py", MFPDE_FAULTS="0"),
    )


PROPERTIES = {
    "test_every_step_keeps_its_promises": "mass, sign and energy",
    "test_odd_activations_keep_what_is_even": "symmetry",
    "test_the_order_of_the_data_does_not_matter": "permutation",
}


def random_problems() -> Row:
    """Steps of random problems."""

    def check() -> tuple[str, bool]:
        found = cases("test_random_problems.py", MFPDE_FAULTS="0")
        told = ", ".join(
            f"{PROPERTIES[case.test]} of {dict(case.recorded)['problems']}"
            f"{'' if case.passed else ': fails'}"
            for case in found
        )
        return f"{told} problems", held(found)

    return timed(
        "200 random problems × 200 steps",
        "mass to 1e-12, sign, energy; 100 each for both symmetries",
        check,
    )


# The rows that are measurements -------------------------------------------------------------------


def forecasts() -> Row:
    """One process a run."""

    def check() -> tuple[str, bool]:
        with redirect_stdout(io.StringIO()) as told:
            missed = memory.table(full=True)
        direct = sum(line.startswith("direct") for line in told.getvalue().splitlines())
        count = len(memory.cases(full=True))
        within = f"{count - missed} of {count} as promised, {direct} of them to 35 %"
        return f"{within} (sparse factorisations)", missed == 0

    return timed("forecast against measured peak of memory", "within 15 %", check)


def mutation() -> Row:
    """What ``make mutants`` found."""
    claim, goal = "mutants of numerics and store", "at least 80 % killed"
    found = mutants.results()
    if not found:
        return Row(claim, goal, "not run", None, 0.0)
    dead = sum(not one["survived"] for one in found)
    told = f"{dead} of a random sample of {len(found)} killed ({dead / len(found):.0%})"
    return Row(claim, goal, f"{told}; {found[-1]['of']} in all", dead >= 0.8 * len(found), 0.0)


REPEATS, BETWEEN = 5, 100
HORIZON = 400.0  # some 2500 steps


def price() -> Row:
    """The same run with and without a folder, in turns, after one of each; medians."""

    def check() -> tuple[str, bool]:
        grid = mf.Grid(a=mf.uniform(-5, 5, 256), w=mf.uniform(-5, 5, 256))

        def run(instants: Sequence[float], to: Path | None = None) -> int:
            return mf.solve(
                disk.PROBLEM, grid, mf.muscl(), instants, to=to, escaped_tolerance=1, progress=False
            ).attrs["steps"]

        def more(instants: Sequence[float]) -> tuple[float, float]:
            """Seconds without a folder, and how many more with one."""
            taken: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(REPEATS + 1):
                for stored, seconds in taken.items():
                    with tempfile.TemporaryDirectory() as folder:
                        to = Path(folder) / "run" if stored else None
                        seconds.append(lasting(lambda: run(instants, to)))  # noqa: B023
            bare, kept = (statistics.median(taken[stored][1:]) for stored in (False, True))
            return bare, kept - bare

        steps = run([0.0, HORIZON])
        intervals = round(steps / BETWEEN)
        fixed = more([0.0])[1]
        bare, extra = more(np.linspace(0, HORIZON, intervals + 1).tolist())
        told = f"{extra / bare:+.1%} ({bare:.2f} s -> {bare + extra:.2f} s) over {steps} steps and "
        told += f"{intervals} intervals, of which {1e3 * fixed:.0f} ms to open and close; medians "
        return f"{told}of {REPEATS} in turns", extra <= 0.05 * bare

    return timed("price of safety at 256², a snapshot every 100 steps", "at most 5 %", check)


ROWS: dict[str, Callable[[], Row]] = {
    row.__name__: row
    for row in (
        kills, power_cuts, crashes, refusals, full_disks, read_only, spoiling, signals, writers,
        malformed, invalid, blowups, random_problems, forecasts, mutation, price,
    )
}  # fmt: skip


# The page -----------------------------------------------------------------------------------------


def table(rows: dict[str, Row]) -> str:
    """The rows that were run, as Markdown."""
    lines = ["| claim | goal | found | | s |", "|---|---|---|---|---|"]
    for name in ROWS:
        row = rows.get(name)
        if row is None:
            lines.append(f"| {name} | | not run | – | |")
            continue
        mark = {True: "holds", False: "**fails**", None: "–"}[row.passed]
        lines.append(f"| {row.claim} | {row.goal} | {row.counts} | {mark} | {row.seconds:.0f} |")
    return "\n".join(lines + survivors())


def survivors() -> list[str]:
    """Mutants that no test saw."""
    alive = [one for one in mutants.results() if one["survived"]]
    if not alive:
        return []
    return ["", "Mutants that survived:", ""] + [
        f"- `{one['file']}`, `{re.sub('`', '', str(one['change']))}`" for one in alive
    ]


def written(rows: dict[str, Row]) -> None:
    """The table, between its marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")


def main(names: list[str]) -> int:
    """Run rows, keep what they found, write the page; 1 if one fails."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    rows = {name: Row(*row) for name, row in known.items()}
    RESULTS.parent.mkdir(exist_ok=True)
    for name in names or ROWS:
        rows[name] = ROWS[name]()
        print(name, *rows[name][2:], flush=True)
        RESULTS.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        written(rows)
    return int(any(rows[name].passed is False for name in names or ROWS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
