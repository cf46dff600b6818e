"""Options that several commands share."""

from typing import Annotated

import typer

__all__ = ["Url"]

Url = Annotated[
    str,
    typer.Option(help="The database: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`."),
]
"""Which database a command works on."""
