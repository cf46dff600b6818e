"""Every example runs: those of docstrings, of README and of each page in docs."""

import ast
import doctest
import re
import runpy
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from langchain_core.globals import set_llm_cache

from llmops_langchain import LLMOps

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llmops_langchain"
FENCE = re.compile(r"^ *```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def modules_with(mark: str) -> Iterator[ModuleType]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "migrations" not in path.parts and mark in path.read_text():
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield import_module(name.removesuffix(".__init__"))


def docstring_examples() -> Iterator[doctest.DocTest]:
    for module in modules_with(">>>"):
        found = doctest.DocTestFinder(exclude_empty=True).find(module)
        yield from (each for each in found if each.examples)


def fences(name: str, text: str, names: dict[str, object]) -> Iterator[object]:
    for number, found in enumerate(FENCE.finditer(text), start=1):
        yield pytest.param(textwrap.dedent(found[1]), names, id=f"{name}-{number}")


# The desk of `support_agent.py` needs a model: the integration tests run it with the demo.
EXAMPLES = [it for it in sorted((ROOT / "examples").glob("*.py")) if it.stem != "support_agent"]


def fences_of_pages() -> Iterator[object]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        yield from fences(path.name, path.read_text(), {"__name__": "__main__"})


def fences_of_docstrings() -> Iterator[object]:
    """They know the names of their module, as doctests do."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for module in modules_with("```python"):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            text = ast.get_docstring(node) if isinstance(node, documented) else None
            yield from fences(module.__name__, text or "", vars(module))


@pytest.fixture(autouse=True)
def an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An example may write a database where it stands, and set the global cache."""
    monkeypatch.chdir(tmp_path)
    yield
    set_llm_cache(None)


@pytest.mark.parametrize("example", [*docstring_examples()], ids=lambda example: example.name)
def test_a_docstring_example_runs(example) -> None:
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example, out=told.append).failed == 0, "".join(told)


@pytest.mark.parametrize(("source", "known"), [*fences_of_pages(), *fences_of_docstrings()])
def test_a_code_block_runs(source, known) -> None:
    names = dict(known)
    exec(compile(source, "example", "exec"), names)  # noqa: S102 - our own pages
    for each in names.values():
        if isinstance(each, LLMOps):
            each.close()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


def test_the_first_page_has_an_example_that_runs() -> None:
    assert FENCE.search((ROOT / "README.md").read_text())
