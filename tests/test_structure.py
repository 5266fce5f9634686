"""The architecture, held against the files: who imports whom, what is packaged, what no file may name."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
PACKAGES = ("suite", "datasets", "reports")
MAY_IMPORT = {"suite": {"suite"}, "datasets": {"suite", "datasets"}, "reports": {"suite", "reports"}}
TEXT = {".py", ".md", ".toml", ".txt", ".cfg", ".yml", ".yaml", ".typ", ".html", ".json", ".svg", ""}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, top_only: bool = False) -> Iterator[str]:
    """Yield every module or name that `tree` imports; with `top_only`, when it is imported itself and not for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (top_only and (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _for_types(node))):
            yield from imported(node, top_only)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_the_reader_of_imports_sees_those_in_functions_and_skips_them_on_request() -> None:
    tree = ast.parse("import a.b\nif TYPE_CHECKING:\n    import t\ndef f():\n    from c import d")
    assert list(imported(tree)) == ["a.b", "t", "c.d"]
    assert list(imported(tree, top_only=True)) == ["a.b"]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    others = set(PACKAGES) - MAY_IMPORT[package] | {"run_all", "tests"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported(ast.parse(path.read_text()))
        if name.split(".")[0] in others
    ]
    assert not wrong


def test_the_command_line_alone_knows_all_three_packages() -> None:
    knows = {name.split(".")[0] for name in imported(ast.parse((ROOT / "run_all.py").read_text()))}
    assert set(PACKAGES) <= knows
    assert [path.name for path in ROOT.glob("*.py")] == ["run_all.py"]


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    known = {name_of(path): path for package in PACKAGES for path in modules(package)}
    graph = {name: _module_imports(name, path, set(known)) for name, path in known.items()}
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in finished:
            for other in sorted(graph[name]):
                visit(other, (*path, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def _module_imports(name: str, path: Path, known: set[str]) -> set[str]:
    """Return the modules that `path` needs in order to be imported, itself and its own package aside."""
    found = set()
    for target in imported(ast.parse(path.read_text()), top_only=True):
        module = target if target in known else target.rpartition(".")[0]
        if module in known and module != name and not name.startswith(f"{module}."):
            found.add(module)
    return found


def test_suite_alone_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    found = find_packages(str(ROOT), **settings)
    assert "suite" in found
    assert {name.split(".")[0] for name in found} == {"suite"}
    folders = {name_of(path).removesuffix(".__init__") for path in (ROOT / "suite").rglob("__init__.py")}
    assert folders == set(found)


def test_every_folder_with_modules_is_a_package() -> None:
    bare = {path.parent for package in PACKAGES for path in modules(package) if not (path.parent / "__init__.py").exists()}
    assert not bare


def test_suite_can_be_imported_without_the_others() -> None:
    """As where only the package is installed: the checkout's other folders are not there."""
    names = ", ".join(sorted(name_of(path) for path in modules("suite")))
    code = f"import sys; sys.modules.update(datasets=None, reports=None, run_all=None); import {names}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


MEASURES_ALONE = """
import sys
missing = "datasets reports run_all matplotlib networkx sklearn pandas rich tyro typst optuna safetensors statsmodels ray".split()
sys.modules.update(dict.fromkeys(missing))
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCN
from suite import measures

engine = {name.split(".")[1] for name in sys.modules if name.startswith("suite.")}
assert not engine & {"analysis", "certify", "diagnosis", "progress", "runner", "store", "study", "tuning", "worker"}, engine
node = torch.arange(6)
edges = torch.cat([torch.stack([node, node.roll(step)]) for step in (1, -1)], 1)
ring = Data(x=torch.randn(6, 3), edge_index=edges, readout_index=node[:1])
pair = torch.tensor([[0, 3]])
assert abs(float(measures.effective_resistance(ring.edge_index, 6, pair)) - 1.5) < 1e-9
assert float(measures.vertex_cuts(ring.edge_index, 6, pair)) == 2
assert measures.influence(GCN(3, 4, 2, 2), [ring])[0].x[0, 3] == 0
assert float(measures.rayleigh_quotient(torch.ones(6, 2), ring.edge_index, "gcn")) < 1e-12
"""


def test_measures_need_nothing_of_what_runs_studies_or_draws() -> None:
    """They import and measure a model of PyG where only torch, PyG, NumPy, SciPy, einops and pydantic are installed."""
    ran = subprocess.run([sys.executable, "-c", MEASURES_ALONE], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def texts() -> list[Path]:
    """Return the files that git knows or would take, data aside."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [p for p in paths if p.suffix in TEXT and p.is_file() and "networks" not in p.relative_to(ROOT).parts[:2]]


# Written in pieces, so that this file does not name them either.
PLACES = "|".join(["/" + "work/", "/" + "root/", "/home/" + r"\w+/", "/tmp/" + r"\w", "py" + "pi.org", "registry\\." + "npm"])
WORDS = "|".join(["fa" + "rm", "se" + "ssions?", "is" + "sues?", "ag" + "ents?", "co" + "-authored-by"])
FORBIDDEN = re.compile(rf"{PLACES}|\b(?:{WORDS})\b", re.IGNORECASE)
ALLOWED = re.compile('scope="se' + 'ssion"')


def test_no_file_names_a_machine_or_the_workplace() -> None:
    assert FORBIDDEN.search("as the " + "is" + "sue says")
    assert not FORBIDDEN.search("tis" + "sue, reis" + "sued")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := FORBIDDEN.search(ALLOWED.sub("", line)))
    ]
    assert not found
