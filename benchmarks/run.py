"""Run every script in turn and write what they found into `README.md`.

Nothing else should run meanwhile. With `--quick` the sizes are small, and the page is printed. With
names of scripts only those run, and the page keeps what it says of the others:

    python benchmarks/run.py learning_speed.py
"""

import os
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
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
    "learning_similar.py",
    "learning_success.py",
    "learning_patterns.py",
    "learning_speed.py",
    "workspaces.py",
    "analytics.py",
    "forecasting.py",
    "anomalies.py",
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
    "chromadb",
    "pycasbin",
    "pydantic",
)


def main() -> None:
    """Everything, or nothing: a script that fails leaves the page as it was."""
    chosen = tuple(each for each in SCRIPTS if each in sys.argv[1:]) or SCRIPTS
    outputs = {script: run(script) for script in chosen}
    path = HERE / "README.md"
    page = path.read_text("utf-8")
    if QUICK:
        print(figures(outputs))
    elif chosen == SCRIPTS:
        path.write_text(replaced(page, figures(outputs)), "utf-8")
    else:
        path.write_text(renewed(page, outputs), "utf-8")


def run(script: str) -> str:
    """What a script prints, in a process of its own."""
    print(f"{script} …", file=sys.stderr, flush=True)
    # What peers warn of is not ours to print.
    options = ["--quick"] if QUICK else []
    command = [sys.executable, "-W", "ignore", str(HERE / script), *options]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout


def figures(outputs: Mapping[str, str]) -> str:
    """The claims of all scripts in one table, then the tables of each."""
    claims = [line for script in outputs for line in claims_of(script, outputs[script])]
    details = [section(script, output) for script, output in outputs.items()]
    header = [f"| {' | '.join(CLAIMS_HEADER)} |", f"|{' --- |' * len(CLAIMS_HEADER)}"]
    return "\n".join([f"{where()}\n", "## Claims\n", *header, *claims, "", *details])


def claims_of(script: str, output: str) -> list[str]:
    """The lines that state what a script claims."""
    return [line for line in output.splitlines() if line.startswith(f"| `{script}` |")]


def section(script: str, output: str) -> str:
    """What a script found."""
    return f"## {script}\n\n{output.split('### Claims of', maxsplit=1)[0].strip()}\n"


def renewed(page: str, outputs: Mapping[str, str]) -> str:
    """The page with other figures of some scripts, and the rest as it was."""
    _, _, rest = page.partition(BEGIN)
    old, _, _ = rest.partition(END)
    top, *sections = re.split(r"^(?=## )", old.strip(), flags=re.MULTILINE)
    kept = {each.split("\n", 1)[0].removeprefix("## "): each.strip() for each in sections}
    header, claims = kept["Claims"].split("\n\n", 1)[1].split("\n")[:2], []
    for script in SCRIPTS:
        told = outputs.get(script, kept["Claims"])
        claims += claims_of(script, told)
        if script in outputs:
            kept[script] = section(script, outputs[script]).strip()
    first, *earlier = top.strip().split("\n\n")
    still = [line for line in earlier if set(re.findall(r"`(.+?)`", line)) - outputs.keys()]
    again = f"Since then again: {', '.join(f'`{name}`' for name in outputs)}, {where()}"
    parts = [kept[script] for script in SCRIPTS if script in kept]
    claimed = "\n".join(["## Claims\n", *header, *claims])
    return replaced(page, "\n\n".join([first, *still, again, claimed, *parts, ""]))


def where() -> str:
    """When, and on what."""
    versions = list(filter(None, map(_known, LIBRARIES)))
    python = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    machine = f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {python}, {', '.join(versions)}."


def _known(library: str) -> str | None:
    """Its version; `None` if it is missing, as the peers of scripts that do not run may be."""
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return None


def replaced(page: str, new: str) -> str:
    """The page with other figures between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{new}\n{END}{after}"


if __name__ == "__main__":
    main()
