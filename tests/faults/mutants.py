"""Mutation testing of the numerics and the store: small changes of the sources that tests must see.

    python tests/faults/mutants.py [--sample N] [--seed S] [--minutes M]

One change at a time is made in a copy of the sources, and the tests that hold that file to its word
are run there without compilation. A mutant is killed when they fail or take four times as long as
without it. Results are appended to build/mutants.json line by line: the same call goes on.
"""

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "mutants.json"
PATIENCE = 4.0  # times what the tests take without a mutant
STORE = (
    "tests/loop/test_store.py",
    "tests/faults/test_store.py",
    "tests/faults/test_everywhere.py",
)
TARGETS = {  # source -> the tests that hold it to its word
    "mfpde/kernels/deposit.py": ("tests/kernels/test_deposit.py",),
    "mfpde/kernels/exchange.py": ("tests/kernels/test_exchange.py",),
    "mfpde/kernels/remap.py": ("tests/kernels/test_remap.py",),
    "mfpde/kernels/stencils.py": ("tests/kernels/test_stencils.py",),
    "mfpde/kernels/switch.py": ("tests/kernels/test_switch.py",),
    "mfpde/kernels/weno.py": ("tests/kernels/test_weno.py",),
    "mfpde/methods/residual.py": ("tests/methods/test_residual.py",),
    "mfpde/loop/guards.py": ("tests/faults/test_blowups.py",),
    "mfpde/loop/arrays.py": STORE,
    "mfpde/loop/checkpoint.py": STORE,
    "mfpde/loop/files.py": STORE,
    "mfpde/loop/ledger.py": STORE,
    "mfpde/loop/reading.py": STORE,
    "mfpde/loop/store.py": STORE,
}
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def swapped(node: ast.AST) -> Iterator[ast.AST]:
    """The node with one thing changed, for each thing that may be."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        yield changed(node, op=SWAPS[type(node.op)]())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield changed(node, ops=[SWAPS[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield changed(node, value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield changed(node, value=node.value + 1)
        yield changed(node, value=node.value - 1)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node.operand
    if isinstance(node, ast.Call) and len(node.args) > 1:
        yield changed(node, args=[node.args[1], node.args[0], *node.args[2:]])
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield ast.Pass()


def changed(node: ast.AST, **fields: object) -> ast.AST:
    """A shallow copy with other fields."""
    twin = copy.copy(node)
    for name, value in fields.items():
        setattr(twin, name, value)
    return twin


def spoken(tree: ast.Module) -> set[int]:
    """Nodes that only speak: annotations, and what is raised or warned of."""
    parts: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            parts.append(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.returns:
            parts.append(node.returns)
        elif isinstance(node, ast.Raise | ast.JoinedStr):
            parts.append(node)
    return {id(below) for part in parts for below in ast.walk(part)}


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """(what was changed, the whole source with it) for every mutant of a file, in order."""
    tree = ast.parse(source)
    silent = spoken(tree)
    for parent in list(ast.walk(tree)):
        for name, value in ast.iter_fields(parent):
            places = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
            for place, node in places:
                if not isinstance(node, ast.expr | ast.stmt) or id(node) in silent:
                    continue
                for other in swapped(node):
                    put(parent, name, place, other)
                    told = f"{ast.unparse(node)}  ->  {ast.unparse(other)}"
                    yield (
                        f"line {node.lineno}: {told}",
                        ast.unparse(ast.fix_missing_locations(tree)),
                    )
                    put(parent, name, place, node)


def put(parent: ast.AST, name: str, place: int | None, node: ast.AST) -> None:
    """A child in its place."""
    if place is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[place] = node


class Bench:
    """A copy of the sources, where one file at a time is another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.usual: dict[tuple[str, ...], float] = {}
        for part in ("mfpde", "particle_ref", "tests"):
            kept = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=kept)
        shutil.copy(ROOT / "pyproject.toml", folder)

    def passes(self, tests: tuple[str, ...], seconds: float | None = None) -> bool:
        """Whether all tests pass in that time."""
        silent = {"NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        try:
            result = subprocess.run(
                command,
                cwd=self.folder,
                env=os.environ | silent | {"PYTHONPATH": str(self.folder)},
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return result.returncode == 0

    def patience(self, tests: tuple[str, ...]) -> float:
        """Seconds after which tests are taken to hang."""
        if tests not in self.usual:
            begun = time.monotonic()
            if not self.passes(tests):
                raise SystemExit(f"{' '.join(tests)} fail without any mutant")
            self.usual[tests] = time.monotonic() - begun
        return PATIENCE * self.usual[tests] + 5.0

    def survives(self, target: str, mutant: str) -> bool:
        """Whether the tests of a file do not see that it is another."""
        tests, path = TARGETS[target], self.folder / target
        seconds = self.patience(tests)
        right = path.read_text(encoding="utf-8")
        path.write_text(mutant, encoding="utf-8")
        try:
            return self.passes(tests, seconds)
        finally:
            path.write_text(right, encoding="utf-8")


def results() -> list[dict[str, object]]:
    """What was found so far."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Run what is asked for and not known yet; print the score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="only so many, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    asked = parser.parse_args()
    every = [
        (target, told, text)
        for target in TARGETS
        for told, text in mutants((ROOT / target).read_text(encoding="utf-8"))
    ]
    random.Random(asked.seed).shuffle(every)
    known = {(found["file"], found["change"]) for found in results()}
    RESULTS.parent.mkdir(exist_ok=True)
    end = time.monotonic() + 60 * asked.minutes
    with tempfile.TemporaryDirectory() as folder, RESULTS.open("a", encoding="utf-8") as file:
        bench = Bench(Path(folder) / "copy")
        for target, told, text in every[: asked.sample]:
            if (target, told) in known:
                continue
            if time.monotonic() > end:
                break
            found = {"file": target, "change": told, "survived": bench.survives(target, text)}
            file.write(json.dumps(found | {"of": len(every)}) + "\n")
            file.flush()
    found = results()
    killed = sum(not one["survived"] for one in found)
    print(f"{killed} of {len(found)} mutants killed; {len(every)} in all")


if __name__ == "__main__":
    main()
