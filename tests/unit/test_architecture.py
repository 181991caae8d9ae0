"""How modules may import one another, beyond the contracts of pyproject.toml."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("m3l", "pipelines", "serve_app")
TIERS = ("unit", "integration", "system")
EXPENSIVE = {"local_ray", "walk", "bucket"}  # fixtures that start servers


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Each import of a file, wherever it stands: a module and, of `from module import name`, the name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield from ((str(node.module), alias.name) for alias in node.names)


def import_graph(files: dict[str, Path]) -> dict[str, set[str]]:
    """The modules that each module runs by its imports.

    To import a.b.c also runs a/__init__.py and a/b/__init__.py: an edge goes to each of them, too, unless the importing
    module lies in that package, which then runs already.
    """
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        graph[module] = set()
        for target, name in imports(path):
            whole = f"{target}.{name}" if f"{target}.{name}" in files else target
            graph[module] |= {whole} & files.keys()
            parents = [whole.rsplit(".", depth)[0] for depth in range(1, whole.count(".") + 1)]
            graph[module] |= {
                parent for parent in parents if parent in files and not f"{module}.".startswith(f"{parent}.")
            }
    return graph


def test_there_is_no_import_cycle() -> None:
    files = {module_name(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    try:
        TopologicalSorter(import_graph(files)).prepare()
    except CycleError as error:
        pytest.fail(f"an import cycle: {' -> '.join(error.args[1])}")


def test_a_cycle_through_the_face_of_a_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    sources = {"a/__init__.py": "from a.x import X", "a/x.py": "from b import y", "b/__init__.py": "", "b/y.py": ""}
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    files = {module_name(path): path for path in tmp_path.rglob("*.py")}
    TopologicalSorter(import_graph(files)).prepare()
    (tmp_path / "b/y.py").write_text("import a.z")  # which runs a/__init__.py, which runs a/x.py
    with pytest.raises(CycleError):
        TopologicalSorter(import_graph(files)).prepare()


def test_tests_share_helpers_through_tests_support_alone() -> None:
    for tier in (*TIERS, "support"):
        for path in (ROOT / "tests" / tier).rglob("*.py"):
            for module, _ in imports(path):
                assert module.split(".")[0] != "tests" or module.startswith("tests.support"), f"{path}: {module}"


def test_unit_tests_start_no_ray_and_no_server() -> None:
    for path in (ROOT / "tests" / "unit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert not EXPENSIVE & {argument.arg for argument in node.args.args}, f"{path}: {node.name}"
