"""Fits how many tokens other vocabularies need, given o200k's: writes `tokens/token_fits.json`.

    python benchmarks/train_token_fit.py /usr/share /usr/lib

It needs Python 3.12 with `ctok` (Claude), `splintr-rs` (Gemma and open models) and `quicktok-v1`:
the best proxies that work offline. None of them is the provider's own counter. The folders are
searched for gettext catalogues, sources and documents; which texts are learnt from, and which are
reported on, stands in `token_texts.py`. No text goes into the file, only weights. The proxies'
counts of the texts that are reported on go to `data/token_proxies.json`, so that `counting.py` runs
without them.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray
from token_texts import digest, learnt, reported

from llmops_langchain.tokens.features import FEATURES, features
from llmops_langchain.tokens.fitted import FITS

Floats = NDArray[np.float64]
Texts = Mapping[str, list[str]]

PROXIES = Path(__file__).parent / "data" / "token_proxies.json"
PACKAGES = ("ctok", "splintr-rs", "quicktok-v1")
CLAUDES = {"claude": "4.7", "claude-3": "3.0"}
"""Fits of Claude and the version whose vocabulary `ctok` is asked for: 4.7 came with Opus 4.7."""
OTHERS = {
    "gemma": "gemma3",
    "llama-3": "llama3",
    "mistral": "mistral_v3",
    "qwen": "qwen3",
    "deepseek": "deepseek_v3",
    "glm": "glm4",
    "kimi": "kimi_k2",
}
"""Further fits, and the vocabularies of `splintr-rs` that they are made on."""
SHARES = {
    "languages": 0.35,
    "manuals": 0.1,
    "decomposed": 0.03,
    "code": 0.19,
    "documents": 0.18,
    "data": 0.15,
}
"""What each group of texts weighs."""
UNDER = 0.6
"""Weight of an error below the truth, `1 - UNDER` of one above: too low is worse than too high."""
LOWERING = frozenset(("words", "digit"))
"""Features whose weight may be negative; of a rare one that would be an accident of the texts."""
RIDGE = 1e-4
ROUNDS, SWEEPS = 12, 150
FOLDS = 5


def main() -> None:
    """Count, fit and write; print the cross-validated errors."""
    counters = proxies()
    texts, importance = learnt(map(Path, sys.argv[1:]))
    weights, flat = shares(texts, importance), list(all_of(texts))
    fits = {}
    for name in (*CLAUDES, *OTHERS):
        rows = np.array([features(text, counters["o200k"](text)) for text in seen(name, flat)])
        truth = np.array([max(1, counters[name](text)) for text in flat], np.float64)
        fits[name] = entry(name, rows, truth, weights)
        print(f"{name:10}", figures(rows, truth, weights, texts))
    written = {"learnt_from": card(texts), "made_with": versions(), "fits": fits}
    Path(str(FITS)).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    keep_proxies(counters)


def seen(name: str, texts: Iterable[str]) -> list[str]:
    """Return the texts as the vocabulary meets them."""
    return [normalize("NFC", text) if name in CLAUDES else text for text in texts]


def proxies() -> dict[str, Callable[[str], int]]:
    """Return what counts a text, by the name of the fit; the frame of a message is left out."""
    import ctok
    import quicktok
    import splintr

    def claude(text: str, *, number: str) -> int:
        # A message has a frame of fixed size around its text.
        return int(ctok.token_count(text, number) - ctok.token_count("a", number) + 1)

    def other(text: str, *, vocabulary: Any) -> int:
        return len(vocabulary.encode_ordinary(text))

    load = splintr.Tokenizer.from_pretrained
    return {
        "o200k": quicktok.get_encoding("o200k_base").count,
        **{name: partial(claude, number=number) for name, number in CLAUDES.items()},
        **{name: partial(other, vocabulary=load(name_)) for name, name_ in OTHERS.items()},
    }


def shares(texts: Texts, importance: Mapping[str, float]) -> Floats:
    """Return what each text weighs, one on average."""
    groups = {kind: kind.partition(":")[0] for kind in texts}
    sums = {
        group: sum(importance[kind] for kind, own in groups.items() if own == group)
        for group in SHARES
    }
    weights = [
        SHARES[groups[kind]] * importance[kind] / sums[groups[kind]] / len(each)
        for kind, each in texts.items()
        for _ in each
    ]
    return np.array(weights) * len(weights)


def entry(name: str, rows: Floats, truth: Floats, weights: Floats) -> dict[str, Any]:
    """Return one fit as it is written."""
    found = fitted(rows, truth, weights)
    # A fit is not to be trusted beyond what all but the oddest texts need.
    least, most = np.quantile(truth / rows[:, 0], [0.001, 0.999])
    return {
        "composed": name in CLAUDES,
        "least": round(float(least), 3),
        "most": round(float(most), 3),
        "weights": {name: round(float(w), 5) for name, w in zip(FEATURES, found, strict=True)},
    }


def fitted(rows: Floats, truth: Floats, weights: Floats) -> Floats:
    """Return the weights of the features: least squares on the relative error, tilted by `UNDER`.

    The tilt makes it an expectile (Newey and Powell, 1987), found by weighting errors anew.
    """
    shares = rows / truth[:, None]
    scale = shares.std(axis=0) + 1e-9
    shares = shares / scale
    found, tilted = np.zeros(rows.shape[1]), weights
    for _ in range(ROUNDS):
        weighted = shares * tilted[:, None]
        squares = weighted.T @ shares + RIDGE * len(rows) * np.eye(rows.shape[1])
        found = descended(found, squares, weighted.sum(axis=0))
        tilted = weights * np.where(shares @ found < 1, UNDER, 1 - UNDER) * 2
    return found / scale


def descended(start: Floats, squares: Floats, sums: Floats) -> Floats:
    """Return where `f @ squares @ f / 2 - sums @ f` is least, by descent along one weight a time.

    No weight but those of `LOWERING` is negative.
    """
    found = start.copy()
    least = [-np.inf if name in LOWERING else 0.0 for name in FEATURES]
    for _ in range(SWEEPS):
        for at, bound in enumerate(least):
            step = (sums[at] - squares[at] @ found) / squares[at, at]
            found[at] = max(bound, found[at] + step)
    return found


def figures(rows: Floats, truth: Floats, weights: Floats, texts: Texts) -> str:
    """Return mean absolute error and bias by group, each text predicted by a fit without it."""
    folds = np.random.default_rng(0).integers(0, FOLDS, len(rows))
    errors = np.empty(len(rows))
    for fold in range(FOLDS):
        out = folds == fold
        found = fitted(rows[~out], truth[~out], weights[~out])
        errors[out] = rows[out] @ found / truth[out] - 1
    groups = np.array([kind.partition(":")[0] for kind, each in texts.items() for _ in each])
    own = {group: errors[groups == group] for group in SHARES}
    return "  ".join(f"{g} {np.abs(e).mean():.1%} {e.mean():+.1%}" for g, e in own.items())


def card(texts: Texts) -> dict[str, dict[str, int]]:
    """Return how much of each group was learnt from."""
    found = {group: {"kinds": 0, "texts": 0, "characters": 0} for group in SHARES}
    for kind, each in texts.items():
        sums = found[kind.partition(":")[0]]
        sums["kinds"] += 1
        sums["texts"] += len(each)
        sums["characters"] += sum(map(len, each))
    return found


def versions() -> dict[str, str]:
    """Return the versions of the proxies."""
    return {name: version(name) for name in PACKAGES}


def keep_proxies(counters: Mapping[str, Callable[[str], int]]) -> None:
    """Write the proxies' counts of the texts that are reported on, by a digest of each text."""
    names = (*CLAUDES, *OTHERS)
    counts = {digest(text): [counters[name](text) for name in names] for text in all_of(reported())}
    lines = ",\n".join(f'  "{key}": {json.dumps(row)}' for key, row in sorted(counts.items()))
    head = json.dumps({"made_with": versions(), "fits": names}, indent=1)[:-2]
    PROXIES.write_text(f'{head},\n "counts": {{\n{lines}\n }}\n}}\n', encoding="utf-8")


def all_of(texts: Texts) -> Iterable[str]:
    """Return the texts of every kind."""
    return (text for each in texts.values() for text in each)


if __name__ == "__main__":
    main()
