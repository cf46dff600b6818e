"""Every error this package raises on purpose.

LLMOpsError
├── ConfigurationError         also a ValueError: arguments that cannot be honoured
├── MissingExtraError          also an ImportError: an optional package is not installed
├── ContextWindowError         also a ValueError: what must be kept is larger than the window
└── StorageError               the database cannot do what was asked
    ├── DatabaseUnavailableError   also a ConnectionError: not there, not reachable, not allowed
    ├── DatabaseLockedError        also a TimeoutError: another process kept the write lock
    ├── DatabaseReadOnlyError      also a PermissionError: a write to a file opened read-only
    ├── DatabaseCorruptError       the file is no SQLite database, or is damaged
    └── SchemaVersionError         tables older or newer than this code can use
"""

__all__ = [
    "ConfigurationError",
    "ContextWindowError",
    "DatabaseCorruptError",
    "DatabaseLockedError",
    "DatabaseReadOnlyError",
    "DatabaseUnavailableError",
    "LLMOpsError",
    "MissingExtraError",
    "SchemaVersionError",
    "StorageError",
]


class LLMOpsError(Exception):
    """Base class: `except LLMOpsError` catches everything raised on purpose."""


class ConfigurationError(LLMOpsError, ValueError):
    """Raised by a constructor, before any work is done."""


class MissingExtraError(LLMOpsError, ImportError):
    """Raised where an optional package is first needed; `extra` names what to install.

    `install` is the command to run where the extra alone does not bring the package.
    """

    def __init__(self, package: str, *, extra: str, install: str | None = None) -> None:
        self.package, self.extra = package, extra
        command = install or f"pip install 'llmops-langchain[{extra}]'"
        super().__init__(f"{package!r} is not installed: run `{command}`")


class ContextWindowError(LLMOpsError, ValueError):
    """Raised when what a request cannot do without is larger than its window.

    `needed_tokens` is the smallest valid request (system prompt, tools, current question),
    `max_tokens` the budget it was to fit in. The messages are left as they were.
    """

    def __init__(self, *, needed_tokens: int, max_tokens: int) -> None:
        self.needed_tokens, self.max_tokens = needed_tokens, max_tokens
        super().__init__(
            f"system prompt, tools and current question need {needed_tokens} tokens, the window "
            f"has {max_tokens}: raise `max_tokens`, shorten them, or use a larger model"
        )


class StorageError(LLMOpsError):
    """Base class of what a database can refuse; nothing of the transaction was kept."""


class DatabaseUnavailableError(StorageError, ConnectionError):
    """Raised when the database cannot be opened: no such folder, server down, login refused."""


class DatabaseLockedError(StorageError, TimeoutError):
    """Raised when another process held the write lock for longer than the busy timeout."""


class DatabaseReadOnlyError(StorageError, PermissionError):
    """Raised by a write to a database that was opened, or lies on a disk, for reading only."""


class DatabaseCorruptError(StorageError):
    """Raised when a file is not an SQLite database, or is damaged; it is not touched."""


class SchemaVersionError(StorageError):
    """Raised when the tables are not of a version this code can work on.

    `found` is the version in the database (`None`: no tables yet), `expected` this code's own.
    """

    def __init__(self, message: str, *, found: str | None, expected: str) -> None:
        self.found, self.expected = found, expected
        super().__init__(message)
