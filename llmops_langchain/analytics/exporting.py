"""Events to files and back, for `Analytics`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Unpack

from llmops_langchain.analytics.asking import Asked, Asking, names_in
from llmops_langchain.analytics.export import (
    Format,
    exported,
    format_of,
    imported,
    write_parquet,
    written,
)
from llmops_langchain.analytics.questions import Question
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger.importing import import_events
from llmops_langchain.ledger.rollups import HOUR
from llmops_langchain.storage.hopping import hop
from llmops_langchain.storage.types import new_id

__all__ = ["Exporting"]


class Exporting(Asking):
    """The part of `Analytics` that writes and reads files."""

    def export(
        self,
        target: str | Path,
        *names: str,
        format: Format | None = None,  # noqa: A002 - the word for it
        days: float = 30,
        **asked_for: Unpack[Asked],
    ) -> int:
        """Write events to a file, a page of them in memory at a time; how many.

        The file is there once it is whole. Money is in nano-dollars, times are UTC seconds since
        the Unix epoch, texts that a spreadsheet would take for a formula begin with `'`, and
        prompts and answers are not in it.

        Args:
            target: Where to; a file that is there is replaced.
            names: Of which events; by default all of them.
            format: `"json"`, `"ndjson"`, `"csv"` or `"parquet"` (`[export]`); by default the
                ending of the file's name.
            days: As for `cost`.
            asked_for: See `Asked`; groups, buckets and comparisons do not matter.

        Raises:
            ConfigurationError: If something asked for makes no sense.
            MissingExtraError: If `pyarrow` is needed and not installed.
            StorageError: If the database cannot answer; there is no file then.
        """
        path = Path(target)
        form, question = format_of(path, format), self._all_of(names, days, asked_for)
        unfinished = path.with_name(f".{path.name}.{new_id()}")
        try:
            if form == "parquet":
                number = write_parquet(self._database, question, unfinished)
            else:
                number = written(exported(self._database, question, form), form, unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return number

    def export_bytes(
        self,
        *names: str,
        format: Literal["json", "ndjson", "csv"] = "ndjson",  # noqa: A002 - as above
        days: float = 30,
        **asked_for: Unpack[Asked],
    ) -> Iterator[bytes]:
        """The same as a stream of bytes, such as for the answer to a request."""
        form = format_of(Path("-"), format)
        if form == "parquet":
            msg = "`parquet` is no stream: `export` it to a file"
            raise ConfigurationError(msg)
        return exported(self._database, self._all_of(names, days, asked_for), form)

    def load(
        self,
        source: str | Path,
        *,
        format: Format | None = None,  # noqa: A002 - as above
    ) -> tuple[int, int]:
        """Take in events of a file that `export` wrote; those that are there already stay.

        Budgets do not count them.

        Args:
            source: The file.
            format: By default the ending of its name.

        Returns:
            How many events it has, and how many of them were new.

        Raises:
            ConfigurationError: If a row is no event, or the format is none.
            MissingExtraError: If `pyarrow` is needed and not installed.
            StorageError: If the database cannot take them; what was stored stays so, and the file
                may be loaded again.
        """
        path = Path(source)
        found = imported(path, format_of(path, format))
        return import_events(self._database, found, clock=self._clock)

    aexport = hop(export)
    aload = hop(load)

    def _all_of(self, names: Sequence[str], days: float, asked_for: Asked) -> Question:
        """The events themselves."""
        wanted = self._wanted(days, asked_for)
        named, span = tuple(names_in(names)), wanted.span
        if asked_for.get("end") is None:
            # With what was recorded this very moment, and by clocks that are a little ahead.
            span = replace(span, until=span.until + HOUR)
        return Question(names=named, span=span, where=wanted.where, tags=wanted.tags)
