"""Run after the suite, on the `coverage.json` it wrote: no file may hide behind the average."""

import json
from pathlib import Path

_FLOOR = 85.0  # percent of lines and branches


def test_no_file_is_under_the_floor() -> None:
    report = json.loads(Path("coverage.json").read_text(encoding="utf-8"))
    covered = {name: file["summary"]["percent_covered"] for name, file in report["files"].items()}
    low = {name: round(share, 1) for name, share in covered.items() if share < _FLOOR}
    assert covered
    assert not low
