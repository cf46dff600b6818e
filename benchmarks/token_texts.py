"""Texts to fit token counts on, and other texts to report on; no text is in both.

Learnt from: translated messages of programs (gettext catalogues), translated manual pages, the
Python standard library, other sources and documents installed on the machine, generated JSON.
Reported on: the Universal Declaration of Human Rights in 27 languages, chats, benchmark prompts,
issues, installed packages' sources, JSON of another generator with other fields.
"""

import gettext
import gzip
import json
import random
import re
import sysconfig
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable
from csv import DictReader
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unicodedata import decomposition, normalize
from uuid import UUID

__all__ = ["digest", "learnt", "reported"]

Texts = dict[str, list[str]]

DATA = Path(__file__).parents[2] / "shared" / "data"
LANGUAGE_CHARACTERS = 2_000
"""A language with less in its catalogues, or in its manual pages, is left out."""
SENTENCE = 70
"""Characters: shorter messages of a program are labels, and read like no prose."""
MARKUP = re.compile(r"\\f.|\\\(..|\\[-&]?")
"""What troff writes between the words of a manual page."""
SUFFIXES = {
    "code": ("c", "css", "h", "hpp", "js", "pl", "pm", "sh", "sql"),
    "documents": ("md", "rst"),
    "data": ("csv", "html", "json", "xml", "yaml"),
}
PACKAGES = ("langgraph", "openai", "sqlalchemy", "pydantic", "fastapi", "rich")


def learnt(roots: Iterable[Path], *, texts: int = 60) -> tuple[Texts, dict[str, float]]:
    """Return texts of 60 to 6,000 characters by `group:kind`, and what each kind weighs.

    Args:
        roots: Folders that are searched for catalogues, manuals, sources and documents.
        texts: Of each kind about so many; of Python and JSON four times as many.
    """
    rng = random.Random(1)  # noqa: S311 - the same texts in every run
    files = sorted(path for root in roots for path in root.rglob("*.*") if path.is_file())
    files = [path for path in files if not {"site-packages", "proc"} & set(path.parts)]
    found, weights = {}, {}
    for name, pieces in sorted(catalogues(files).items()):
        found[f"languages:{name}"] = [joined(sorted(pieces), rng) for _ in range(texts)]
        # Programs are translated where they are used.
        weights[f"languages:{name}"] = sum(map(len, pieces)) ** 0.5
    for name, lines in sorted(manuals(files).items()):
        found[f"manuals:{name}"] = [passage(lines, rng) for _ in range(texts)]
    written = [text for kind, each in found.items() if kind[0] == "l" for text in each]
    found["decomposed:any"] = [normalize("NFD", text) for text in rng.sample(written, 2 * texts)]
    found["decomposed:vi"] = [by_windows(text) for text in found.get("languages:vi", [])]
    library = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    own = [path for path in library if not {"site-packages", "test", "idlelib"} & set(path.parts)]
    found["code:py"] = excerpts(own, rng, 4 * texts)
    for group, suffixes in SUFFIXES.items():
        for suffix in suffixes:
            of_kind = [path for path in files if path.suffix == f".{suffix}"]
            found[f"{group}:{suffix}"] = excerpts(of_kind, rng, texts)
    found["data:generated"] = [rows(rng, order) for _ in range(4 * texts)]
    found = {kind: each for kind, each in found.items() if each}
    return found, {kind: weights.get(kind, len(each)) for kind, each in found.items()}


def reported() -> Texts:
    """Return held-out texts by kind; those of a folder or package that is missing are left out."""

    def rng() -> random.Random:
        return random.Random(2)  # noqa: S311 - the same texts in every run

    found: Texts = {}
    if DATA.is_dir():
        laws = json.loads((DATA / "context" / "udhr27.json").read_text(encoding="utf-8"))
        found = {f"udhr {name}": paragraphs(text) for name, text in laws.items()}
        found |= {"chat": chats(rng()), "prompts": prompts(rng()), "issues": issues(rng())}
    for name in PACKAGES:
        found[f"Python of {name}"] = excerpts(package_files(name), rng(), 30)
    found["JSON"] = [rows(each, measurement) for each in [rng()] for _ in range(120)]
    return {kind: each for kind, each in found.items() if each}


def by_windows(text: str) -> str:
    """Return a Vietnamese text as Windows keyboards write it: each tone apart from its vowel."""

    def typed(character: str) -> str:
        parts = decomposition(character)
        return (
            character
            if not parts or "<" in parts
            else bytes.fromhex("".join(part.zfill(8) for part in parts.split())).decode("utf-32-be")
        )

    return "".join(map(typed, text))


def catalogues(files: Iterable[Path]) -> dict[str, set[str]]:
    """Return the translated messages of compiled catalogues by language."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in files:
        # A name with a dot is a language in another encoding.
        language = path.parent.parent.name.split("@")[0]
        if path.suffix == ".mo" and "." not in language:
            found[language] |= messages(path)
    return {
        name: pieces
        for name, pieces in found.items()
        if sum(map(len, pieces)) >= LANGUAGE_CHARACTERS
    }


def messages(path: Path) -> set[str]:
    """Return the translations in one catalogue that are longer than a label."""
    try:
        with path.open("rb") as file:
            pairs: dict[Any, Any] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    except (LookupError, OSError, ValueError):
        return set()
    texts = {new for old, new in pairs.items() if old and new != old and isinstance(new, str)}
    return {encodable(text) for text in texts if len(text) >= SENTENCE}


def manuals(files: Iterable[Path]) -> dict[str, list[str]]:
    """Return lines of translated manual pages by language, without their markup."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in files:
        if path.parts[-4:-2] == ("man", path.parts[-3]) and path.suffix == ".gz":
            page = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
            lines = [MARKUP.sub("", line) for line in page.splitlines() if line[:1] not in ".'"]
            found[path.parts[-3]] += [line for line in lines if len(line) > 50]
    return {
        name: lines for name, lines in found.items() if sum(map(len, lines)) >= LANGUAGE_CHARACTERS
    }


def passage(lines: list[str], rng: random.Random) -> str:
    """Return two to ten lines that follow each other."""
    start = rng.randrange(max(1, len(lines) - 10))
    return "\n".join(lines[start : start + rng.randint(2, 10)])


def joined(pieces: list[str], rng: random.Random) -> str:
    """Return some messages as one text of 60 to 3,000 characters."""
    wanted, parts = int(60 * 50 ** rng.random()), [rng.choice(pieces)]
    while sum(map(len, parts)) < wanted:
        parts.append(rng.choice(pieces))
    return rng.choice([" ", "\n"]).join(parts)[:wanted]


def excerpts(paths: list[Path], rng: random.Random, most: int) -> list[str]:
    """Return whole lines of files, 80 to 6,000 characters of each."""
    found = []
    for path in rng.sample(paths, min(most, len(paths))):
        text = encodable(path.read_text(encoding="utf-8", errors="replace")[:500_000])
        wanted = int(80 * 75 ** rng.random())
        start = text.find("\n", rng.randrange(max(1, len(text) - wanted))) + 1
        found.append(text[start : start + wanted])
    return [text for text in found if len(text) > 40]


def rows(rng: random.Random, row: Callable[[random.Random], dict[str, Any]]) -> str:
    """Return JSON as tools answer it: one object or many, on one line or indented."""
    made: Any = [row(rng) for _ in range(rng.randint(1, 12))]
    return json.dumps(
        made if len(made) > 1 else made[0],
        indent=rng.choice([None, None, 2]),
        ensure_ascii=False,
        separators=rng.choice([None, (",", ":")]),
    )


def order(rng: random.Random) -> dict[str, Any]:
    """Return one order of a shop."""
    words = ["red", "small", "steel", "chair", "garden", "lamp", "cotton", "used", "shirt", "oak"]
    return {
        "order_id": str(UUID(int=rng.getrandbits(128))),
        "createdAt": f"20{rng.randint(10, 30)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        "customer": {"name": " ".join(rng.sample(words, 2)).title(), "vip": rng.random() < 0.3},
        "items": [
            {"sku": f"{rng.choice('ABC')}-{rng.randrange(10**6)}", "qty": rng.randint(1, 9)}
            for _ in range(rng.randint(0, 3))
        ],
        "total": round(rng.random() * 500, 2),
        "status": rng.choice(["paid", "shipped", "returned", None]),
        "token": b64encode(rng.randbytes(rng.choice([0, 12, 24]))).decode(),
    }


def measurement(rng: random.Random) -> dict[str, Any]:
    """Return one measurement of a sensor."""
    return {
        "sensor": f"{rng.choice(['temp', 'hum', 'co2'])}_{rng.getrandbits(24):06x}",
        "ts": 1_700_000_000 + rng.randrange(10**7),
        "values": [round(rng.gauss(20, 5), 3) for _ in range(rng.randint(1, 8))],
        "unit": rng.choice(["°C", "%", "ppm"]),
        "location": {"lat": rng.uniform(-90, 90), "lon": rng.uniform(-180, 180)},
        "tags": rng.sample(["indoor", "roof", "calibrated", "north wing", "beta"], 2),
        "firmware": f"v{rng.randint(1, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 99)}",
        "note": rng.choice(["", "battery replaced by the night shift", "signal was lost twice"]),
    }


def paragraphs(text: str) -> list[str]:
    """Return a text in messages of at least 400 characters, whole lines each."""
    found = [""]
    for line in text.splitlines():
        if len(found[-1]) >= 400:
            found.append("")
        found[-1] += line + "\n"
    return found


def chats(rng: random.Random) -> list[str]:
    """Return what people say to each other, each message as it was sent."""
    talks = json.loads((DATA / "context" / "locomo.json").read_text(encoding="utf-8"))
    said = [
        turn["text"]
        for talk in talks
        for session in talk["conversation"].values()
        if isinstance(session, list)
        for turn in session
        if isinstance(turn, dict)
    ]
    return rng.sample(said, 120)


def prompts(rng: random.Random) -> list[str]:
    """Return prompts of benchmarks: questions, sums, code to write."""
    lines = (DATA / "routing" / "zeroeval_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [encodable(json.loads(line)["prompt"]) for line in rng.sample(lines, 120)]


def issues(rng: random.Random) -> list[str]:
    """Return descriptions of software issues, with logs and markup in them."""
    found = []
    for path in sorted((DATA / "learning" / "storypoints").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found += [row["description"] for row in DictReader(file)]
    return rng.sample([encodable(text) for text in found if text and len(text) > 100], 120)


def package_files(name: str) -> list[Path]:
    """Return the sources of an installed package; none if it is missing."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return []
    return sorted(Path(spec.origin).parent.rglob("*.py"))


def encodable(text: str) -> str:
    """Return a text without lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def digest(text: str) -> str:
    """Return what a text is known by where it is not kept itself."""
    return blake2b(text.encode(), digest_size=8).hexdigest()
