"""Layers, sizes, extras, version, and what the wheel holds."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmops_langchain

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llmops_langchain"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
)


def nodes(kind: type[ast.AST]) -> Iterator[tuple[Path, ast.AST]]:
    """Every node of a kind in the package."""
    for path in SOURCES:
        yield from (
            (path, node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kind)
        )


def lines_of_body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


def test_imports_point_down_the_layers() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_no_module_is_longer_than_400_lines() -> None:
    long = {path.name: len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    functions = nodes(ast.FunctionDef | ast.AsyncFunctionDef)
    long = {f"{path.name}: {node.name}": lines_of_body(node) for path, node in functions}
    assert {name: lines for name, lines in long.items() if lines > 60} == {}


def test_extras_that_errors_name_exist() -> None:
    named = {
        keyword.value.value
        for _, node in nodes(ast.Call)
        if getattr(node.func, "id", None) == "MissingExtraError"
        for keyword in node.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Constant)
    }
    assert named
    assert named <= EXTRAS


def test_extras_that_pages_and_sources_name_exist() -> None:
    written = "\n".join(path.read_text() for path in [*PAGES, *SOURCES])
    named = set(re.findall(r"llmops-langchain\[([a-z]+)\]", written))
    assert named <= EXTRAS


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    newest = re.search(
        r"^## \[?(\d+\.\d+\.\d+\S*?)\]?(?:\s|$)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert newest
    assert newest[1] == llmops_langchain.__version__


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_wheel_holds_every_file_of_the_package(tmp_path) -> None:
    pytest.importorskip("hatchling", reason="needs the package hatchling, which builds the wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there
    assert {Path(name).suffix for name in held} >= {".py", ".mako", ".yaml", ".typed"}
