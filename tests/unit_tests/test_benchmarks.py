"""Every script of `benchmarks/` runs, and finds both sides right, at its smallest size."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

_OTHERS = {
    "evidence_curve.py",
    "learning_issues.py",
    "make_learning_weights.py",
    "make_lexicon.py",
    "measuring.py",
    "nab.py",
    "routing_curves.py",
    "routing_data.py",
    "routing_peers.py",
    "run.py",
    "token_texts.py",
    "tradeoff.py",
    "train_token_fit.py",
    "train_verifier.py",
}
"""What measures nothing: they are used by the scripts, or make what the package ships."""

_OF_A_PAGE = {"usage_truth.py"}
"""Its tables are a page of their own, and a test of their own compares them."""


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_every_script_runs_and_states_its_claims() -> None:
    pytest.importorskip("langchain_community", reason="needs the dependency group `bench`")
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--quick"]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stderr
    scripts = {path.name for path in BENCHMARKS.glob("*.py")} - _OTHERS - _OF_A_PAGE
    assert {name for name in scripts if f"| `{name}` |" in ran.stdout} == scripts
