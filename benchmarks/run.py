"""Run every script in turn and write what they found into `README.md`, in about a minute.

Nothing else should run meanwhile. With `--quick` the sizes are small, and the page is printed.
"""

import os
import platform
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from measuring import CLAIMS_HEADER, QUICK

HERE = Path(__file__).parent
SCRIPTS = (
    "cache.py",
    "cache_server.py",
    "semantic.py",
    "semantic_bound.py",
    "semantic_hit.py",
    "semantic_index.py",
    "vectors.py",
    "trim.py",
    "growing_chat.py",
    "summaries.py",
    "validity.py",
    "evidence.py",
    "counting.py",
    "history.py",
    "routing.py",
    "prices.py",
    "handler.py",
    "budgets.py",
    "ingest.py",
)
BEGIN, END = "<!-- figures: `make bench` writes what follows -->", "<!-- end of the figures -->"
LIBRARIES = (
    "llmops-langchain",
    "langchain-core",
    "langchain-community",
    "redis",
    "langchain-openai",
    "langfuse",
    "openinference-instrumentation-langchain",
    "SQLAlchemy",
    "genai-prices",
    "tiktoken",
    "pydantic",
)


def main() -> None:
    """Everything, or nothing: a script that fails leaves the page as it was."""
    outputs = [run(script) for script in SCRIPTS]
    page = figures(outputs)
    if QUICK:
        print(page)
    else:
        path = HERE / "README.md"
        path.write_text(replaced(path.read_text("utf-8"), page), "utf-8")


def run(script: str) -> str:
    """What a script prints, in a process of its own."""
    print(f"{script} …", file=sys.stderr, flush=True)
    # What peers warn of is not ours to print.
    command = [sys.executable, "-W", "ignore", str(HERE / script), *sys.argv[1:]]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout


def figures(outputs: list[str]) -> str:
    """The claims of all scripts in one table, then the tables of each."""
    claims, details = [], []
    for script, output in zip(SCRIPTS, outputs, strict=True):
        claims += [line for line in output.splitlines() if line.startswith(f"| `{script}` |")]
        details.append(f"## {script}\n\n{output.split('### Claims of')[0].strip()}\n")
    header = [f"| {' | '.join(CLAIMS_HEADER)} |", f"|{' --- |' * len(CLAIMS_HEADER)}"]
    return "\n".join([f"{where()}\n", "## Claims\n", *header, *claims, "", *details])


def where() -> str:
    """When, and on what."""
    versions = [f"{name} {version(name)}" for name in LIBRARIES]
    python = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    machine = f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {python}, {', '.join(versions)}."


def replaced(page: str, new: str) -> str:
    """The page with other figures between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{new}\n{END}{after}"


if __name__ == "__main__":
    main()
