"""Makes `llmops_langchain/text/lexicon.txt.gz` out of WordNet and a list of words by frequency.

WordNet 3.0 is Debian's package `wordnet-base`; the words in the order of their frequency are the
vocabulary of BERT (`bert-base-uncased`, Apache-2.0), which comes with MiniLM as `vocab.txt`.

    apt-get install wordnet-base
    python benchmarks/make_lexicon.py --vocabulary DIRECTORY_OF_MINILM/vocab.txt

One line a dictionary form, the most frequent first, with three fields after the word:
flags (`p` its first sense is a person, `c` a thing that can be pointed at, `v` it is only a verb),
senses that it shares with other words, and axes of opposites: a word with `7` is an opposite of a
word with `-7`. Lines `form=dictionary form` at the end are the irregular forms.
"""

import argparse
import gzip
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TARGET = Path(__file__).parents[1] / "llmops_langchain" / "text" / "lexicon.txt.gz"
WORD = re.compile(r"[a-z]{2,}")
SENSES = {"noun": 3, "verb": 4, "adj": 3, "adv": 1}  # the commonest of a word, by part of speech
PARTS = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
ENDINGS = {
    "noun": "s: ses:s xes:x zes:z ches:ch shes:sh men:man ies:y",
    "verb": "s: ies:y es:e es: ed:e ed: ing:e ing:",
    "adj": "er: est: er:e est:e",
    "adv": "",
}  # WordNet's own rules of detachment, see morphy(7WN)
PERSON, VERBS = 18, range(29, 44)  # numbers of lexicographer files, see lexnames(5WN)
THINGS = frozenset((5, 6, 8, 13, 14, 15, 17, 18, 20, 27, 28))

Sense = tuple[str, str]  # part of speech, offset in the data file


class Synset(NamedTuple):
    """A sense and what it points to."""

    file: int
    words: list[str]
    pointers: list[tuple[str, Sense, str]]

    def targets(self, *symbols: str, word: str | None = None) -> Iterator[Sense]:
        """What pointers of these symbols lead to, if need be from one word of the sense only."""
        for symbol, target, ends in self.pointers:
            source = int(ends[:2], 16)
            if symbol in symbols and (word is None or source == self.words.index(word) + 1):
                yield target


class WordNet:
    """The database files of WordNet 3.0, see wndb(5WN)."""

    def __init__(self, folder: Path) -> None:
        self.index: dict[str, dict[str, list[str]]] = defaultdict(dict)
        self.synsets: dict[Sense, Synset] = {}
        self.irregular: dict[str, list[str]] = defaultdict(list)
        for part, most in SENSES.items():
            for line in lines(folder / f"index.{part}"):
                fields = line.split()
                start = 6 + int(fields[3])
                wanted = min(most, max(1, int(fields[start - 1])))  # those met in texts
                self.index[fields[0]][part] = fields[start:][:wanted]
            for line in lines(folder / f"data.{part}"):
                fields = line.split(" | ")[0].split()
                self.synsets[part, fields[0]] = synset(fields)
            for line in lines(folder / f"{part}.exc"):
                form, base = line.split()[:2]
                self.irregular[form].append(base)

    def bases(self, form: str) -> set[str]:
        """The dictionary forms a form can belong to."""
        found = {base for base in self.irregular.get(form, ()) if base in self.index}
        if form in self.index:
            found.add(form)
        for part, rules in ENDINGS.items():
            for rule in rules.split():
                ending, put = rule.split(":")
                base = form.removesuffix(ending) + put
                if form.endswith(ending) and part in self.index.get(base, ()):
                    found.add(base)
        return {base for base in found if WORD.fullmatch(base)}

    def senses(self, word: str) -> list[Sense]:
        """The commonest senses, then at most two that are derived: `delivery` of `deliver`."""
        own = [(part, offset) for part, offsets in self.index[word].items() for offset in offsets]
        derived: list[Sense] = []
        for sense in own[:3]:
            synset = self.synsets[sense]
            if word in synset.words:
                derived += [
                    target
                    for target in synset.targets("+", "\\", word=word)
                    if target not in own + derived
                ]
        return own + derived[:2]

    def poles(self, sense: Sense) -> set[Sense]:
        """The sense and the one above it: where opposites are looked for."""
        above = list(self.synsets[sense].targets("@", "@i", "&"))[:1]
        return {sense, *above}


def lines(file: Path) -> Iterator[str]:
    """Without the licence at the top, whose lines begin with a space."""
    return (line for line in file.read_text("utf-8").splitlines() if not line.startswith(" "))


def synset(fields: list[str]) -> Synset:
    """A line of a data file."""
    count = int(fields[3], 16)
    words = [word.lower().split("(")[0] for word in fields[4 : 4 + 2 * count : 2]]
    rest = fields[5 + 2 * count :]
    pointers = [
        (rest[at], (PARTS[rest[at + 2]], rest[at + 1]), rest[at + 3])
        for at in range(0, 4 * int(fields[4 + 2 * count]), 4)
    ]
    return Synset(int(fields[1]), words, pointers)


def ranked(vocabulary: Path) -> list[str]:
    """Whole words, the most frequent first."""
    words = vocabulary.read_text("utf-8").splitlines()
    return list(dict.fromkeys(word for word in words if WORD.fullmatch(word)))


def flags(wordnet: WordNet, word: str) -> str:
    """What a word names."""
    files = [wordnet.synsets[sense].file for sense in wordnet.senses(word)]
    first = files[0]
    told = {"p": first == PERSON, "c": first in THINGS, "v": only_verb(wordnet, word)}
    return "".join(flag for flag, holds in told.items() if holds)


def only_verb(wordnet: WordNet, word: str) -> bool:
    """Whether none of its common senses is of another part of speech."""
    return set(wordnet.index[word]) == {"verb"}


def axes(wordnet: WordNet, words: list[str]) -> dict[str, list[int]]:
    """Numbers of the axes each word lies on; the sign is the end."""
    touched = {word: set().union(*map(wordnet.poles, wordnet.senses(word))) for word in words}
    reached = set().union(*touched.values())
    pairs = sorted(
        {
            tuple(sorted((sense, target)))
            for sense in reached
            for target in wordnet.synsets[sense].targets("!")
            if target in reached
        }
    )
    ends: dict[Sense, list[int]] = defaultdict(list)
    for number, (one, other) in enumerate(pairs, start=1):
        ends[one].append(number)
        ends[other].append(-number)
    return {
        word: sorted(end for pole in poles for end in ends[pole]) for word, poles in touched.items()
    }


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--vocabulary", type=Path, required=True)
    told = parser.parse_args()
    wordnet = WordNet(told.wordnet)
    forms = ranked(told.vocabulary)
    words = list(dict.fromkeys(base for form in forms for base in sorted(wordnet.bases(form))))
    uses = Counter(sense for word in words for sense in wordnet.senses(word))
    shared = [sense for sense, count in uses.items() if count > 1]
    number = {sense: str(at) for at, sense in enumerate(shared)}
    opposite = axes(wordnet, words)
    written = [
        "\t".join(
            (
                word,
                flags(wordnet, word),
                " ".join(number[sense] for sense in wordnet.senses(word) if sense in number),
                " ".join(map(str, opposite[word])),
            )
        )
        for word in words
    ]
    listed = set(words)
    written += [
        f"{form}={bases[0]}"
        for form, bases in sorted(wordnet.irregular.items())
        if form in set(forms) and bases[0] in listed and form != bases[0]
    ]
    # No date in the file: the same sources give the same bytes.
    TARGET.write_bytes(gzip.compress(("\n".join(written) + "\n").encode(), mtime=0))
    print(f"{len(words)} words, {len(shared)} shared senses, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
