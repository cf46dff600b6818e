"""Read an audit chain from its beginning and say where it was tampered with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmops_langchain.workspaces.chain import START, Head, Link, expected_hash, pseudonym
from llmops_langchain.workspaces.signing import AuditKeys

__all__ = ["Anchor", "AuditFinding", "AuditReport", "Named", "verified"]

Kind = Literal[
    "altered", "missing", "cut", "unsigned", "unknown_key", "renamed", "unnamed", "anchor"
]

_MOST = 100
"""Findings that are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The end of a chain at some moment, to be kept where the database's owner cannot reach it."""

    workspace: str
    """Whose chain."""
    seq: int
    """How many entries it had."""
    hash: str
    """The hash of the last one, hexadecimal."""
    ts: float
    """When that was, UTC seconds since the Unix epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFinding:
    """One place where a chain is not as it was written."""

    seq: int
    """The number of the entry."""
    kind: Kind
    """`altered` (a column was changed), `missing` (entries are gone), `cut` (the end is gone),
    `unsigned` (written without the key), `unknown_key` (cannot be verified without its key),
    `renamed` (another name was put behind a pseudonym), `unnamed` (a name is gone though nobody
    asked to be forgotten), `anchor` (the entry is another than when the anchor was made)."""
    said: str
    """In words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What the verification of one chain found."""

    workspace: str
    """Whose chain."""
    entries: int
    """Rows that were read."""
    signed: int
    """Rows among them that a key signed, and that were verified with it."""
    anchors: int
    """Anchors that fit."""
    head: str
    """The hash of the last row, hexadecimal."""
    findings: tuple[AuditFinding, ...] = field(default=())
    """The first hundred places where something is wrong, in order."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Who stands behind a pseudonym, and the salt that proves it."""

    name: str
    salt: bytes


def verified(
    workspace: str,
    links: Iterable[Link],
    keys: AuditKeys,
    *,
    head: Head | None = None,
    people: Mapping[str, Named] | None = None,
    anchors: Sequence[Anchor] = (),
) -> AuditReport:
    """Read a chain once, in order; nothing of it is kept in memory.

    Args:
        workspace: Whose chain.
        links: Its rows by rising `seq`.
        keys: All that ever signed it.
        head: Where the workspace says that it ends; `None` if that is not known.
        people: By pseudonym; `None` to leave names out.
        anchors: Of this chain.
    """
    walk = _Walk(workspace, keys, people, {each.seq: each for each in anchors})
    for link in links:
        walk.step(link)
    walk.end(head)
    return AuditReport(
        workspace=workspace,
        entries=walk.entries,
        signed=walk.signed,
        anchors=walk.fitting,
        head=_hex(walk.last.hash),
        findings=tuple(sorted(walk.found, key=lambda each: each.seq)),
    )


class _Walk:
    """From row to row: what must come next, and what was found."""

    def __init__(
        self,
        workspace: str,
        keys: AuditKeys,
        people: Mapping[str, Named] | None,
        anchors: dict[int, Anchor],
    ) -> None:
        self._workspace, self._keys, self._anchors = workspace, keys, anchors
        self._people = people
        self._checked = set[str]()
        self._unnamed = dict[str, int]()
        self._was_signed = False
        self.last = Head(0, START)
        self._acceptable = {START}
        self.entries = self.signed = self.fitting = 0
        self.found: list[AuditFinding] = []

    def step(self, link: Link) -> None:
        """One row more."""
        self.entries += 1
        in_place = self._in_place(link)
        self._acceptable = {link.hash}
        self._signature(link, in_place=in_place)
        self._anchor(link)
        self._persons(link)
        self.last = Head(link.seq, link.hash)

    def end(self, head: Head | None) -> None:
        """What is left to say when there are no more rows."""
        if head is not None and head != self.last:
            seq = min(head.seq, self.last.seq) + 1 if head.seq != self.last.seq else head.seq
            self._tell(seq, "cut", f"the workspace ends at {head.seq}, the log at {self.last.seq}")
        for seq, anchor in self._anchors.items():
            if seq > self.last.seq:
                told = f"an anchor says there were {anchor.seq} entries, there are {self.last.seq}"
                self._tell(self.last.seq + 1, "cut", told)
        for seq in self._unnamed.values():
            self._tell(seq, "unnamed", "a name is gone that nobody erased")

    def _in_place(self, link: Link) -> bool:
        """Whether the row is the one that follows."""
        if link.seq != self.last.seq + 1:
            gone = f"{self.last.seq + 1} to {link.seq - 1}"
            self._tell(self.last.seq + 1, "missing", f"entries {gone} are gone")
            return True  # its own place was told
        return link.previous in self._acceptable and link.workspace == self._workspace

    def _signature(self, link: Link, *, in_place: bool) -> None:
        if link.key_id not in self._keys:
            told = f"signed with the key {link.key_id!r}, which was not given"
            self._tell(link.seq, "unknown_key", told)
            return
        try:
            wanted = expected_hash(link, self._keys)
        except TypeError:  # SQLite takes values of any type, and lone surrogates
            wanted = b""
        # A hash that was altered is this row's fault alone: the next one may follow either.
        self._acceptable.add(wanted)
        if wanted != link.hash or not in_place:
            self._tell(link.seq, "altered", f"{link.action}: a column was changed")
        elif self._was_signed and not link.key_id:
            self._tell(link.seq, "unsigned", "written without a key after signed entries")
        self.signed += bool(link.key_id) and wanted == link.hash
        self._was_signed |= bool(link.key_id)

    def _anchor(self, link: Link) -> None:
        anchor = self._anchors.get(link.seq)
        if anchor is None:
            return
        if anchor.hash == _hex(link.hash):
            self.fitting += 1
        else:
            self._tell(link.seq, "anchor", "another entry than when the anchor was made")

    def _persons(self, link: Link) -> None:
        if self._people is None:
            return
        kinds = ((link.actor_kind, link.actor), (link.target_kind, link.target))
        for kind, person in kinds:
            if kind in ("user", "email") and person not in self._checked:
                self._checked.add(person)
                self._person(link.seq, person, self._people)
        if link.action == "person.erased":
            self._unnamed.pop(link.target, None)
            self._checked.add(link.target)
        elif link.action == "workspace.purged":
            self._unnamed.clear()

    def _person(self, seq: int, person: str, people: Mapping[str, Named]) -> None:
        named = people.get(person)
        if named is None:
            self._unnamed[person] = seq
        elif pseudonym(named.salt, named.name) != person:
            self._tell(seq, "renamed", "another name was put behind its pseudonym")

    def _tell(self, seq: int, kind: Kind, said: str) -> None:
        if len(self.found) < _MOST:
            self.found.append(AuditFinding(seq=seq, kind=kind, said=said))


def _hex(value: bytes) -> str:
    """As anchors are written; SQLite may hold a text where bytes belong."""
    return value.hex() if isinstance(value, bytes) else str(value)
