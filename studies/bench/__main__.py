"""Measure, and draw docs/BENCHMARKS.md with its figures.

    python -m studies.bench [--quick] [--only TEXT] [--results FILE] [--docs FOLDER]
    python -m studies.bench page     # the page and its figures again, from what was measured

From the repository's root. All numbers go to one file, written after every job; ``--only`` measures
again the jobs whose names hold TEXT. ``--quick`` takes a minute or two, on small sizes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studies.bench.plan import Job, jobs
from studies.bench.timing import ROOT, here, in_child

RESULTS = Path(__file__).parent / "results" / "results.json"


def measure(plan: list[Job], results: Path, inside: bool = False) -> None:
    """Run the jobs one after the other; what a file holds of other jobs stays.

    inside: in this process, for tests of the harness itself.
    """
    kept = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    results.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    for number, job in enumerate(plan, 1):
        if find_spec(job.needs) is None:
            print(f"{number:>4}/{len(plan)}  {job.name}: {job.needs} is not installed", flush=True)
            continue
        print(f"{number:>4}/{len(plan)}  {job.name}", end="", flush=True)
        start = time.monotonic()
        kept[job.name] = here(job.work, job.arguments) if inside else outside(job)
        results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        now = time.monotonic()
        print(f"  {now - start:.1f} s, {now - begun:.0f} s in all", flush=True)


def outside(job: Job) -> Any:
    """In a process of its own; with an empty cache of compiled code, if it is cold."""
    if not job.cold:
        return in_child(job.work, job.arguments, job.threads)
    with tempfile.TemporaryDirectory() as folder:
        return in_child(job.work, job.arguments, job.threads, NUMBA_CACHE_DIR=folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("run", "page", "work"), default="run")
    parser.add_argument("work", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="small sizes, a minute or two")
    parser.add_argument("--only", default="", help="jobs whose names hold this text")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the numbers")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page")
    asked = parser.parse_args()
    if asked.what == "work":
        work, arguments = asked.work
        print(json.dumps(here(work, json.loads(arguments))))
        return
    if asked.what == "run":
        with tempfile.TemporaryDirectory() as scratch:
            plan = [job for job in jobs(scratch, asked.quick) if asked.only in job.name]
            if not plan:
                parser.error(f"no job's name holds {asked.only!r}")
            measure(plan, asked.results)
    from studies.bench.page import draw  # after the children: matplotlib is heavy

    draw(json.loads(asked.results.read_text(encoding="utf-8")), asked.docs)
    print(f"wrote {asked.docs / 'BENCHMARKS.md'}")


if __name__ == "__main__":
    main()
