"""Every error this package raises on purpose.

LLMOpsError
├── ConfigurationError         also a ValueError: arguments that cannot be honoured
├── MissingExtraError          also an ImportError: an optional package is not installed
├── ContextWindowError         also a ValueError: what must be kept is larger than the window
├── NotFoundError              also a LookupError: a name or id of no stored row
├── PermissionDeniedError      also a PermissionError: a member's role, or a key, does not allow it
├── AuthenticationError        also a PermissionError: an API key that is no key (any more)
├── InvitationError            also a ValueError: an invitation that is over, or somebody else's
├── ConflictError              also a ValueError: what is there already stands against it
│   └── LastOwnerError             a workspace would have no owner
├── AuditError                 the audit log cannot be added to
├── NoCandidateError           also a LookupError: a router has no model that may be asked
├── BudgetError                a guarded call was refused before the model was asked
│   ├── BudgetExceededError        the call would pass a budget
│   ├── UnscopedCallError          nobody said whose call it is, and there are hard budgets
│   ├── UnpricedModelError         a hard budget, and no price is known for the model
│   └── BudgetUnavailableError     also a ConnectionError: the budgets' database does not answer
└── StorageError               the database cannot do what was asked
    ├── DatabaseUnavailableError   also a ConnectionError: not there, not reachable, not allowed
    ├── DatabaseLockedError        also a TimeoutError: another process kept the write lock
    ├── DatabaseReadOnlyError      also a PermissionError: a write to a file opened read-only
    ├── DatabaseCorruptError       the file is no SQLite database, or is damaged
    └── SchemaVersionError         tables older or newer than this code can use
"""

from decimal import Decimal

__all__ = [
    "AuditError",
    "AuthenticationError",
    "BudgetError",
    "BudgetExceededError",
    "BudgetUnavailableError",
    "ConfigurationError",
    "ConflictError",
    "ContextWindowError",
    "DatabaseCorruptError",
    "DatabaseLockedError",
    "DatabaseReadOnlyError",
    "DatabaseUnavailableError",
    "InvitationError",
    "LLMOpsError",
    "LastOwnerError",
    "MissingExtraError",
    "NoCandidateError",
    "NotFoundError",
    "PermissionDeniedError",
    "SchemaVersionError",
    "StorageError",
    "UnpricedModelError",
    "UnscopedCallError",
]


class LLMOpsError(Exception):
    """Base class: `except LLMOpsError` catches everything raised on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        # As it is: the figures are attributes, and a subclass takes them by name.
        return _rebuilt, (type(self), self.args, vars(self))


def _rebuilt(
    kind: type[LLMOpsError], args: tuple[object, ...], figures: dict[str, object]
) -> LLMOpsError:
    """The error that another process raised."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(figures)
    return error


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


class NotFoundError(LLMOpsError, LookupError):
    """Raised when a name or an id means no stored row."""


class PermissionDeniedError(LLMOpsError, PermissionError):
    """Raised before anything is changed, and recorded in the audit log.

    Args:
        permission: What was asked for, such as `"members.invite"`.
        workspace: Where.
        role: The role of who asked; `"key"` for an API key.
        why: What stands against it, if it is not that the role lacks the permission.
    """

    def __init__(
        self, permission: str, *, workspace: str, role: str, why: str | None = None
    ) -> None:
        self.permission, self.workspace, self.role = permission, workspace, role
        way_out = (
            "make a key with more scopes, by somebody who may do it"
            if role == "key"
            else "an owner or admin can change the role"
        )
        reason = why or f"{role!r} has not the permission {permission!r}: {way_out}"
        super().__init__(f"not allowed in workspace {workspace!r}: {reason}")


class AuthenticationError(LLMOpsError, PermissionError):
    """Raised for a credential that lets nobody in; `reason` is `unknown`, `expired` or `revoked`.

    Only who holds the whole key learns that it has expired or was revoked.
    """

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        way_out = {
            "expired": "it has expired: have it rotated",
            "revoked": "it was revoked: have a new one made",
        }.get(reason, "nobody has made it, or it is not whole")
        super().__init__(f"the API key lets nobody in: {way_out}")


class InvitationError(LLMOpsError, ValueError):
    """Raised for an invitation that cannot be used; `reason` says why.

    It is `accepted`, `declined`, `revoked`, `expired`, or `address` where somebody else than the
    invited one holds it.
    """

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        said = {
            "accepted": "was accepted already, and works once",
            "address": "was sent to another address than yours",
        }.get(reason, f"is {reason}" if reason == "expired" else f"was {reason}")
        super().__init__(f"the invitation {said}: ask for a new one")


class ConflictError(LLMOpsError, ValueError):
    """Raised when what is there already stands against a change; nothing was changed."""


class LastOwnerError(ConflictError):
    """Raised when a workspace would be left without an owner; `workspace` names it."""

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        super().__init__(
            f"workspace {workspace!r} would have no owner: transfer its ownership first, "
            "or delete it"
        )


class AuditError(LLMOpsError):
    """Raised when a change cannot be written to the audit log as it must be; nothing changed."""


class NoCandidateError(LLMOpsError, LookupError):
    """Raised when no choice of a router may be asked; `excluded` says why not, by name."""

    def __init__(self, excluded: dict[str, str]) -> None:
        self.excluded = excluded
        told = "; ".join(f"{name}: {why}" for name, why in excluded.items())
        super().__init__(f"no model may be asked ({told}): add a choice, or loosen a rule")


class BudgetError(LLMOpsError):
    """Base class of why a guarded call is refused; the model was not asked, nothing was spent."""


class BudgetExceededError(BudgetError):
    """Raised when what a call may cost does not fit into a budget.

    All amounts are US dollars, so a handler need not parse the message.

    Args:
        scope: Whose budget, such as `"project 'p'"`.
        limit: What may be spent in a period.
        spent: What has been spent in this one.
        reserved: What calls under way may still spend.
        requested: What this call may cost.
        period: `day`, `week`, `month` or `total`.
        resets_at: When the next period begins, UTC seconds since the Unix epoch; `None`: never.
    """

    def __init__(
        self,
        scope: str,
        *,
        limit: Decimal,
        spent: Decimal,
        reserved: Decimal = Decimal(0),
        requested: Decimal = Decimal(0),
        period: str = "total",
        resets_at: float | None = None,
    ) -> None:
        self.scope, self.limit, self.spent = scope, limit, spent
        self.reserved, self.requested = reserved, requested
        self.period, self.resets_at = period, resets_at
        held = f", ${reserved:f} is held by calls under way" if reserved else ""
        super().__init__(
            f"{scope} has spent ${spent:f} of its ${limit:f} ({period}){held}; this call may cost "
            f"${requested:f}: raise the budget, ask a cheaper model or lower `max_tokens`"
        )


class UnscopedCallError(BudgetError, ValueError):
    """Raised when hard budgets exist and nothing says whose budget a guarded call is to use."""

    def __init__(self) -> None:
        super().__init__(
            "there are hard budgets, and this call names no workspace, project or user: make it "
            "inside `ops.track(project=…)`, or set `Settings(unscoped='allow')`"
        )


class UnpricedModelError(BudgetError, ValueError):
    """Raised when a hard budget applies and no price is known for the model; `model` names it."""

    def __init__(self, model: str, *, scope: str) -> None:
        self.model, self.scope = model, scope
        super().__init__(
            f"{scope} has a hard budget and no price is known for {model!r}: "
            f"`ops.prices.set({model!r}, …)`, or `Settings(fallback_price=…)` for all such models"
        )


class BudgetUnavailableError(BudgetError, ConnectionError):
    """Raised when the budgets cannot be asked; `Settings(on_store_failure='allow')` lets calls go.

    The `StorageError` that says why is its `__cause__`.
    """

    def __init__(self) -> None:
        super().__init__(
            "the database of the budgets does not answer, so the call was refused: see the cause; "
            "`Settings(on_store_failure='allow')` lets calls through meanwhile"
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
