"""Read an audit chain from its beginning and say where it was tampered with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmops_langchain.workspaces.chain import START, Head, Link, expected_hash, pseudonym
from llmops_langchain.workspaces.signing import AuditKeys

__all__ = ["Anchor", "AuditFinding", "AuditReport", "Named", "Verification"]

Kind = Literal[
    "altered",
    "missing",
    "cut",
    "unsigned",
    "unknown_key",
    "unproved",
    "renamed",
    "unnamed",
    "anchor",
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
    `unsigned` (written without one of the keys, after entries that were signed), `unknown_key` (the
    log begins with entries of a key that was not given; told once for each), `unproved` (the log
    begins with entries that no key signed, and there is a key now, but no anchor of them),
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

    @property
    def is_unproved(self) -> bool:
        """Whether nothing is known to be wrong, but a key or an anchor is missing to say so."""
        kinds = {each.kind for each in self.findings}
        return bool(kinds) and kinds <= {"unknown_key", "unproved"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Who stands behind a pseudonym, and the salt that proves it."""

    name: str
    salt: bytes


class Verification:
    """Reads a chain row by row, in order, and keeps none of it.

    Args:
        workspace: Whose chain.
        keys: All that ever signed it.
        anchors: Of this chain.
    """

    def __init__(self, workspace: str, keys: AuditKeys, anchors: Sequence[Anchor] = ()) -> None:
        self._workspace, self._keys = workspace, keys
        self._anchors = {each.seq: each for each in anchors}
        self._acceptable = {START}
        self._was_signed = False
        self._unknown = set[str]()
        self._plain = self._vouched = 0
        self._named, self._erased = dict[str, int](), set[str]()
        self._entries = self._signed = self._fitting = 0
        self._found: list[AuditFinding] = []
        self.last = Head(0, START)
        """The last row that was read."""

    def step(self, link: Link) -> None:
        """One row more."""
        self._entries += 1
        in_place = self._in_place(link)
        self._acceptable = {link.hash}
        self._signature(link, in_place=in_place)
        self._anchor(link)
        self._persons(link)
        self.last = Head(link.seq, link.hash)

    def report(self, head: Head, people: Mapping[str, Named], *, anchored: int = 0) -> AuditReport:
        """What was found, once there are no more rows.

        Args:
            head: Where the workspace says that its chain ends.
            people: Who stands behind the pseudonyms in it.
            anchored: How many entries the workspace says that an anchor was made of.
        """
        self._end(head)
        if anchored > self.last.seq:
            told = f"an anchor was made of {anchored} entries, and there are {self.last.seq}"
            self._tell(self.last.seq + 1, "cut", told)
        for person, seq in self._named.items():
            self._person(seq, person, people.get(person))
        return AuditReport(
            workspace=self._workspace,
            entries=self._entries,
            signed=self._signed,
            anchors=self._fitting,
            head=_hex(self.last.hash),
            findings=tuple(sorted(self._found, key=lambda each: each.seq)),
        )

    def _end(self, head: Head) -> None:
        if head.seq != self.last.seq or head.hash not in self._acceptable:
            told = f"the workspace says that it ends at {head.seq}, and it ends at {self.last.seq}"
            self._tell(min(head.seq, self.last.seq) + (head.seq != self.last.seq), "cut", told)
        if not (self._entries or head.seq or self._anchors):
            self._tell(1, "cut", "there is no entry, and a workspace begins with one")
        if self._keys.signing and self._vouched < self._plain:
            told = f"entries up to {self._plain} were written without a key: an anchor proves them"
            self._tell(1, "unproved", told)
        for seq in sorted(self._anchors):
            if seq > self.last.seq:
                told = f"an anchor tells of {seq} entries, and there are {self.last.seq}"
                self._tell(self.last.seq + 1, "cut", told)

    def _in_place(self, link: Link) -> bool:
        """Whether the row is the one that follows."""
        if link.seq != self.last.seq + 1:
            gone = f"{self.last.seq + 1} to {link.seq - 1}"
            self._tell(self.last.seq + 1, "missing", f"entries {gone} are gone")
            return True  # its own place was told
        return link.previous in self._acceptable and link.workspace == self._workspace

    def _signature(self, link: Link, *, in_place: bool) -> None:
        if link.key_id not in self._keys:
            self._unknown_key(link)
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
        elif not link.key_id:
            self._plain = link.seq
        self._signed += bool(link.key_id) and wanted == link.hash
        self._was_signed |= bool(link.key_id)

    def _unknown_key(self, link: Link) -> None:
        """Of an old key that was not given, perhaps; among rows that were verified of a forger."""
        if self._signed:
            told = (
                f"written with the key {link.key_id!r}, which was not given, after signed entries"
            )
            self._tell(link.seq, "unsigned", told)
        elif link.key_id not in self._unknown:
            told = f"signed with the key {link.key_id!r}, which was not given, from here on"
            self._tell(link.seq, "unknown_key", told)
            self._unknown.add(link.key_id)

    def _anchor(self, link: Link) -> None:
        anchor = self._anchors.get(link.seq)
        if anchor is None:
            return
        if anchor.hash == _hex(link.hash):
            self._fitting += 1
            self._vouched = max(self._vouched, link.seq)
        else:
            self._tell(link.seq, "anchor", "another entry than when the anchor was made")

    def _persons(self, link: Link) -> None:
        """Whose names must be there at the end, and since which row."""
        kinds = ((link.actor_kind, link.actor), (link.target_kind, link.target))
        for kind, person in kinds:
            if kind in ("user", "email") and person not in self._erased:
                self._named.setdefault(person, link.seq)
        if link.action == "person.erased":
            self._named.pop(link.target, None)
            self._erased.add(link.target)
        elif link.action == "workspace.purged":
            self._named.clear()

    def _person(self, seq: int, person: str, named: Named | None) -> None:
        if named is None:
            self._tell(seq, "unnamed", "a name is gone that nobody erased")
        elif pseudonym(named.salt, named.name) != person:
            self._tell(seq, "renamed", "another name was put behind its pseudonym")

    def _tell(self, seq: int, kind: Kind, said: str) -> None:
        if len(self._found) < _MOST:
            self._found.append(AuditFinding(seq=seq, kind=kind, said=said))


def _hex(value: bytes) -> str:
    """As anchors are written; SQLite may hold a text where bytes belong."""
    return value.hex() if isinstance(value, bytes) else str(value)
