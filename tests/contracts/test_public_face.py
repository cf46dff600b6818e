"""What can be imported is what is promised: named, sorted, documented, and quick to load."""

import ast
import inspect
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import llmops_langchain

PACKAGE = Path(llmops_langchain.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if "migrations" not in path.parts
)


def names_for_type_checkers() -> dict[str, str]:
    """Name and home of each import under `if TYPE_CHECKING:`."""
    (block,) = (
        node
        for node in ast.parse(Path(llmops_langchain.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    return {
        alias.name: node.module.removeprefix("llmops_langchain.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def public_members(thing: type) -> Iterator[tuple[str, object]]:
    """Methods and properties that the class itself offers."""
    for name, member in vars(thing).items():
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
            yield name, getattr(thing, name)


def test_public_names_are_sorted_and_named_once() -> None:
    assert llmops_langchain.__all__ == sorted(set(llmops_langchain.__all__))


def test_type_checkers_and_users_import_the_same_names() -> None:
    homes = {name: home for home, names in llmops_langchain._HOMES.items() for name in names}
    assert homes == names_for_type_checkers()
    assert sorted(homes) == llmops_langchain.__all__


@pytest.mark.parametrize("name", llmops_langchain.__all__)
def test_a_public_name_can_be_imported_and_is_documented(name) -> None:
    thing = getattr(llmops_langchain, name)
    assert name in import_module(f"llmops_langchain.{llmops_langchain._HOME[name]}").__all__
    assert inspect.getdoc(thing)
    members = public_members(thing) if isinstance(thing, type) else ()
    assert [name for name, member in members if not inspect.getdoc(member)] == []


def test_every_name_shows_in_dir() -> None:
    assert set(llmops_langchain.__all__) <= set(dir(llmops_langchain))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = llmops_langchain.nothing


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_documented_and_says_what_it_offers(module) -> None:
    found = import_module(module)
    assert found.__doc__
    assert found.__all__ == [*dict.fromkeys(found.__all__)]
    assert [name for name in found.__all__ if not hasattr(found, name)] == []


def in_a_fresh_interpreter(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout


def test_importing_the_package_takes_fifty_milliseconds_at_most() -> None:
    # Processor time of the import alone: what else runs on the machine does not count.
    program = (
        "import time; start = time.process_time(); import llmops_langchain; "
        "print(time.process_time() - start)"
    )
    assert statistics.median(float(in_a_fresh_interpreter(program)) for _ in range(5)) <= 0.050


def test_importing_the_package_loads_the_standard_library_alone() -> None:
    program = (
        "import json, sys; before = set(sys.modules); import llmops_langchain; "
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    loaded = set(json.loads(in_a_fresh_interpreter(program)))
    assert loaded - sys.stdlib_module_names == {"llmops_langchain"}
