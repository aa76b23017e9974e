"""The house rules that a reader of the syntax trees can check."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("mfpde", "particle_ref")

# Which way the arrows run: (rooms of mfpde, outside libraries) a room may import beside itself.
OPEN = {"errors", "version", "arguments"}  # to everyone
ALL = {"problems", "grids", "kernels", "flows", "methods", "loop", "measures", "comparison"}
ALL |= {"prediction", "fitting", "report", "sweeping", "accessor", "cli", "experiment", "data"}
ALL |= {"signals", "results", "question", "inspection", "optimality", "error_budget"}
ALL |= {"catalogue", "processes"}
MEASURES = (
    {"problems", "grids", "flows", "measures", "comparison", "prediction"},
    {"numpy", "scipy", "xarray", "ot"},
)
ANY = ALL | {"mfpde"}
ARRAYS = {"numpy", "scipy", "xarray"}
ARROWS: dict[str, tuple[set[str], set[str]]] = {
    "errors": (set(), set()),
    "version": (set(), set()),
    "arguments": (set(), {"numpy"}),
    "data": (set(), set()),
    "problems": (set(), {"numpy", "scipy.special"}),
    "grids": (set(), {"numpy"}),
    "kernels": (set(), {"numpy", "numba"}),
    "flows": ({"problems", "grids", "kernels"}, {"numpy", "scipy.special"}),
    "methods": ({"flows", "grids", "kernels", "problems"}, {"numpy", "scipy"}),
    "loop": (
        {"flows", "methods", "grids", "problems"},
        {"numpy", "xarray", "zarr", "threadpoolctl"},
    ),
    "measures": MEASURES,
    "comparison": MEASURES,
    "error_budget": MEASURES,
    "prediction": MEASURES,
    "optimality": ({"problems", "grids", "flows", "measures", "prediction"}, ARRAYS),
    "fitting": ({"problems", "grids", "methods", "loop"}, {"numpy", "xarray"}),
    "report": (ANY, ARRAYS | {"matplotlib"}),
    "sweeping": (ANY, ARRAYS | {"dask"}),
    "accessor": (ANY, ARRAYS),
    "cli": (ANY | {"particle_ref"}, ARRAYS | {"typer", "rich"}),
    "experiment": (ANY | {"particle_ref"}, ARRAYS),
    "question": (ANY, ARRAYS),
    "results": ({"loop"}, set()),
    "catalogue": (set(), set()),
    "processes": (set(), set()),
    "inspection": (ANY, ARRAYS | {"numba", "threadpoolctl"}),
    "signals": (set(), set()),  # loaded before anything that takes long
    "__main__": ({"cli"}, set()),
    "mfpde": (ALL, set()),
    "particle_ref": (set(), {"numpy", "scipy", "numba", "xarray", "ot", "threadpoolctl"}),
}
# Single files with a library of their own.
ALSO = {
    "mfpde.loop.record": {"numba", "scipy"},  # for the versions that a run records
    "mfpde.methods.fipy_backend": {"fipy"},
    "mfpde.loop.arrays": {"numcodecs", "google_crc32c"},  # what zarr itself encodes chunks with
}
LONG = {
    "mfpde.problems.laws": "six laws, each with density, map of the cube, rule, reach, structure",
}
MOST_LINES = 400
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(p): p for package in OURS for p in sorted((ROOT / package).rglob("*.py"))}
every_module = pytest.mark.parametrize("module", FILES)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def room(module: str) -> str:
    """The room of mfpde, or the package itself."""
    first, *rest = module.split(".")
    return rest[0] if first == "mfpde" and rest else first


def imported(module: str) -> Iterator[str]:
    """Every module that the file imports anywhere, function bodies included."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in FILES or node.module == "scipy" else node.module


@every_module
def test_the_arrows(module):
    rooms, libraries = ARROWS[room(module)]
    libraries = libraries | ALSO.get(module, set())
    for target in imported(module):
        top = target.split(".")[0]
        if top in OURS:
            near = room(target) == room(module) or room(target) in OPEN
            allowed = (near and top == module.split(".")[0]) or room(target) in rooms
            assert allowed, f"{module} imports {target}"
        elif top not in sys.stdlib_module_names:
            known = target in libraries or top in libraries
            assert known or any(target.startswith(f"{lib}.") for lib in libraries), (
                f"{module} imports {target}"
            )


def test_no_cycle_of_imports():
    """A package's __init__ counts as imported with any of its modules."""

    def parents(name: str) -> set[str]:
        parts = name.split(".")
        return {".".join(parts[:k]) for k in range(1, len(parts))}

    arrows = {
        module: {
            goal
            for target in imported(module)
            if target in FILES
            for goal in {target} | (parents(target) - parents(module) - {module})
            if goal in FILES
        }
        for module in FILES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in sorted(arrows[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in FILES:
        visit(module, ())


def packages() -> list[Path]:
    return [
        folder
        for package in OURS
        for folder in [ROOT / package, *sorted((ROOT / package).rglob("*/"))]
        if any(folder.glob("*.py"))
    ]


@pytest.mark.parametrize("folder", packages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_packages_say_what_they_are(folder):
    init = folder / "__init__.py"
    assert init.is_file(), "a package without __init__.py has no docstring"
    assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8")))


@pytest.mark.parametrize("folder", packages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_public_name_hides_a_module_beside_it(folder):
    """After ``from mfpde.x import *`` the name x.y must still be the module y."""
    module = name_of(folder / "__init__.py")
    if module not in FILES:
        pytest.skip("no __init__.py: test_packages_say_what_they_are")
    beside = {p.stem for p in folder.glob("*.py")} | {p.name for p in folder.glob("*/")}
    for node in tree(module).body:
        if isinstance(node, ast.ImportFrom):
            bound = {
                alias.asname or alias.name
                for alias in node.names
                if f"{node.module}.{alias.name}" not in FILES
            }
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound = {node.name}
        elif isinstance(node, ast.Assign):
            bound = {target.id for target in node.targets if isinstance(target, ast.Name)}
        else:
            bound = set()
        assert not bound & beside, f"{sorted(bound & beside)} in {module} hide modules"


@every_module
def test_nothing_is_evaluated_or_unpickled(module):
    assert not FORBIDDEN_MODULES & {target.split(".")[0] for target in imported(module)}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN_CALLS, f"{module}:{node.lineno}"
            assert all(keyword.arg != "allow_pickle" for keyword in node.keywords)


@every_module
def test_files_stay_short(module):
    lines = len(FILES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES or module in LONG, f"{module} has {lines} lines"


def test_reasons_for_long_files_are_still_needed():
    for module in LONG:
        assert module in FILES
        assert len(FILES[module].read_text(encoding="utf-8").splitlines()) > MOST_LINES


@every_module
def test_public_names_have_docstrings(module):
    """Modules, their functions and classes, and the methods of classes."""
    assert ast.get_docstring(tree(module)), f"{module} has no docstring"
    promised = documented_methods()
    for node in tree(module).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        assert ast.get_docstring(node), f"{module}.{node.name} has no docstring"
        for part in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                told = ast.get_docstring(part) or part.name in promised
                assert told, f"{module}.{node.name}.{part.name} has no docstring"


@cache
def documented_methods() -> frozenset[str]:
    """Methods whose meaning a Protocol of ours states: those who offer them need not repeat it."""
    protocols = (
        node
        for module in FILES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    )
    return frozenset(
        part.name
        for node in protocols
        for part in node.body
        if isinstance(part, ast.FunctionDef) and ast.get_docstring(part)
    )


def test_tests_hide_no_package():
    """tests/particle_ref is a folder on the path of pytest: the sources must come before it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    path = settings["tool"]["pytest"]["ini_options"]["pythonpath"]
    assert "." in path[: path.index("tests")]


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_importing_mfpde_is_light():
    loaded = modules_after("import mfpde")
    assert "mfpde.loop.solver" in loaded
    assert not {"fipy", "matplotlib", "ot", "dask", "zarr", "particle_ref"} & loaded


def test_particle_ref_stands_alone():
    loaded = modules_after("import particle_ref")
    assert "particle_ref.force" in loaded
    assert not {"mfpde", "fipy", "matplotlib", "ot", "dask"} & loaded


def test_what_mfpde_offers_is_what_it_imports():
    """__all__ is complete and holds no module."""
    import mfpde

    bound = {
        alias.asname or alias.name
        for node in tree("mfpde").body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(mfpde.__all__) == bound
    assert not any(f"mfpde.{name}" in FILES for name in bound)
