"""The page of workspaces tells the table of roles as it is."""

import re
from pathlib import Path

from llmops_langchain.workspaces import PERMISSIONS, ROLES, check_permission

PAGE = Path(__file__).parents[3] / "docs" / "workspaces.md"


def test_the_page_lists_every_permission_with_the_roles_that_have_it() -> None:
    told = {}
    for line in PAGE.read_text().splitlines():
        if re.match(r"\| `\w+\.\w+`", line):
            names, *marks = cells(line)
            for name in re.findall(r"`([\w.]+)`", names):
                told[name] = [mark == "yes" for mark in marks]
    held = {name: [check_permission(role, name) for role in ROLES] for name in PERMISSIONS}
    assert told == held


def cells(line: str) -> list[str]:
    return [each.strip() for each in line.strip().strip("|").split("|")]
