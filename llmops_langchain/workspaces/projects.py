"""Projects of a workspace: who sees them, and what they may spend."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row

from llmops_langchain.errors import ConfigurationError, ConflictError
from llmops_langchain.ledger import Budget, Budgets, BudgetStatus
from llmops_langchain.storage.schema import project_shares, projects
from llmops_langchain.workspaces.actors import Actor, actor_of
from llmops_langchain.workspaces.chain import Target
from llmops_langchain.workspaces.checking import identifier, label
from llmops_langchain.workspaces.members import member_of
from llmops_langchain.workspaces.records import Project
from llmops_langchain.workspaces.standing import Standing
from llmops_langchain.workspaces.statements import Within, added
from llmops_langchain.workspaces.tenants import Change, Tenants

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from llmops_langchain.ledger.budget import Period

__all__ = ["Projects"]


class Projects:
    """The part of `Workspaces` that is about projects and their budgets."""

    _tenants: Tenants
    _budgets: Budgets | None

    def create_project(
        self,
        workspace: str,
        project: str,
        *,
        actor: Actor | str | None,
        name: str | None = None,
        shared: bool = True,
    ) -> Project:
        """Make a project; needs `projects.create`.

        Args:
            workspace: Where.
            project: Its id, as `ops.track(project=…)` names it.
            actor: Who makes it.
            name: What people call it; by default the id.
            shared: Whether everybody of the workspace sees it; else its maker, with whom
                `share_project` shares it, and who may `projects.read_all`: admins and owners.

        Raises:
            ConfigurationError: If a value makes no sense.
            ConflictError: If there is one of this id already.
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot keep it.
        """
        chosen = identifier(project, "project")
        named = label(chosen if name is None else name, "name")
        with self._tenants.changing(workspace, actor_of(actor), "projects.create") as change:
            values: dict[str, Any] = {
                "id": chosen,
                "name": named,
                "made_by": change.who.person or "",
                "shared": bool(shared),
                "created_at": change.now,
            }
            if not added(change.connection, projects, {"workspace": workspace, **values}):
                msg = f"there is a project {chosen!r} in this workspace already"
                raise ConflictError(msg)
            said = {"name": named, "shared": bool(shared)}
            change.note("project.created", Target("project", chosen), after=said)
            return Project(**values)

    def projects(self, workspace: str, *, actor: Actor | str | None) -> list[Project]:
        """Those that the actor sees, by id; needs `projects.read`.

        Raises:
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database does not answer.
        """
        with self._tenants.reading(workspace, actor_of(actor), "projects.read", filtered=True) as (
            connection,
            who,
        ):
            asked = Within(workspace).select(projects).order_by(projects.c.id)
            rows = connection.execute(asked).all()
            shares = _shares(connection, workspace)
        everything = [_project(row, shares.get(row.id, ())) for row in rows]
        return [each for each in everything if _is_seen(each, who)]

    def project(self, workspace: str, project: str, *, actor: Actor | str | None) -> Project:
        """One project; needs `projects.read`, and errors are those of `projects`."""
        with self._tenants.reading(workspace, actor_of(actor), "projects.read", project) as (
            connection,
            _,
        ):
            asked = Within(workspace).select(projects).where(projects.c.id == project)
            found = connection.execute(asked).one()
            return _project(found, _shares(connection, workspace, project).get(project, ()))

    def rename_project(
        self, workspace: str, project: str, *, name: str, actor: Actor | str | None
    ) -> None:
        """Give it another name; needs `projects.update`, and that the actor sees it.

        Raises:
            ConfigurationError: If `name` makes no sense.
            NotFoundError: If there is no such workspace or project for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot do it.
        """
        named = label(name, "name")
        with self._tenants.changing(
            workspace, actor_of(actor), "projects.update", project=project
        ) as change:
            old = _row(change, project)
            _set(change, project, name=named)
            before, after = {"name": old.name}, {"name": named}
            change.note("project.renamed", Target("project", project), before=before, after=after)

    def delete_project(self, workspace: str, project: str, *, actor: Actor | str | None) -> None:
        """End it, with its shares and the API keys for it; needs `projects.delete`.

        What it has recorded stays, as does its budget. Errors as for `rename_project`.
        """
        with self._tenants.changing(
            workspace, actor_of(actor), "projects.delete", project=project
        ) as change:
            old = _row(change, project)
            gone = change.within.delete(projects).where(projects.c.id == project)
            change.connection.execute(gone)
            change.note("project.deleted", Target("project", project), before={"name": old.name})

    def share_project(
        self,
        workspace: str,
        project: str,
        *,
        actor: Actor | str | None,
        user_id: str | None = None,
    ) -> None:
        """Let everybody of the workspace see it, or one member more; needs `projects.share`.

        Args:
            workspace: Where.
            project: Which; the actor must see it.
            actor: Who shares it.
            user_id: The member; by default everybody.

        Raises:
            NotFoundError: If there is no such workspace, project or member for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot do it.
        """
        with self._tenants.changing(
            workspace, actor_of(actor), "projects.share", project=project
        ) as change:
            if user_id is None:
                _set(change, project, shared=True)
                change.note("project.shared", Target("project", project))
                return
            member_of(change, identifier(user_id, "user_id"))
            row = {"project": project, "user_id": user_id, "created_at": change.now}
            if added(change.connection, project_shares, {"workspace": workspace, **row}):
                said = {"project": project}
                change.note("project.shared", Target("user", user_id), after=said)

    def unshare_project(
        self,
        workspace: str,
        project: str,
        *,
        actor: Actor | str | None,
        user_id: str | None = None,
    ) -> None:
        """Undo `share_project`; arguments and errors as there."""
        with self._tenants.changing(
            workspace, actor_of(actor), "projects.share", project=project
        ) as change:
            if user_id is None:
                _set(change, project, shared=False)
                change.note("project.unshared", Target("project", project))
                return
            theirs = (project_shares.c.project == project, project_shares.c.user_id == user_id)
            gone = change.within.delete(project_shares).where(*theirs)
            if change.connection.execute(gone).rowcount:
                said = {"project": project}
                change.note("project.unshared", Target("user", user_id), before=said)

    def set_budget(
        self,
        workspace: str,
        project: str | None = None,
        *,
        actor: Actor | str | None,
        limit: Decimal | float | str,
        period: "Period" = "month",
        hard: bool = True,
        strict: bool = False,
    ) -> BudgetStatus:
        """Make or change the budget of a project, or of the workspace; needs `budgets.update`.

        The budget and the entry that tells who set it are committed together.

        Args:
            workspace: Where.
            project: Whose; `None` for all of the workspace.
            actor: Who sets it.
            limit: US dollars in a period.
            period: As for `Budget`, as are the next two.
            hard: See there.
            strict: See there.

        Raises:
            ConfigurationError: If a value makes no sense.
            NotFoundError: If there is no such workspace or project for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot do it.
        """
        budget = Budget(
            workspace=identifier(workspace, "workspace"),
            project=project,
            limit=limit,
            period=period,
            hard=hard,
            strict=strict,
        )
        who = actor_of(actor)

        def noted(connection: "Connection") -> None:
            change = self._for_budget(connection, workspace, project, who)
            said = {"limit": str(budget.limit), "period": period, "hard": hard, "strict": strict}
            change.note("budget.set", _target(workspace, project), after=said)
            self._tenants.conclude(change)

        with self._tenants.noting_denials(workspace, who):
            return self._need_budgets().set(budget, also=noted)

    def budgets(self, workspace: str, *, actor: Actor | str | None) -> list[BudgetStatus]:
        """The budgets of a workspace and of its projects that the actor sees.

        Needs `budgets.read`; errors as for `projects`.
        """
        with self._tenants.reading(workspace, actor_of(actor), "budgets.read", filtered=True) as (
            connection,
            who,
        ):
            asked = Within(workspace).select(projects).order_by(projects.c.id)
            shares = _shares(connection, workspace)
            rows = [_project(row, shares.get(row.id, ())) for row in connection.execute(asked)]
        seen = {None, *(each.id for each in rows if _is_seen(each, who))}
        there = {each.id for each in rows}
        return [
            each
            for each in self._need_budgets().list()
            if each.budget.workspace == workspace
            # Who was let see a project that is gone, nobody knows any more.
            and (each.budget.project in seen or (who.sees_all and each.budget.project not in there))
            and who.actor.project in (None, each.budget.project)
        ]

    def remove_budget(
        self,
        workspace: str,
        project: str | None = None,
        *,
        actor: Actor | str | None,
        period: "Period | None" = None,
    ) -> None:
        """Take a budget away; needs `budgets.update`.

        Args:
            workspace: Where.
            project: Whose, also when the project was deleted; `None` for the workspace's own.
            actor: Who does it.
            period: Which, if there are several.

        Raises:
            ConfigurationError: If there are several, and no `period`.
            NotFoundError: If there is no such workspace, project or budget for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot do it.
        """
        who = actor_of(actor)

        def noted(connection: "Connection") -> None:
            change = self._for_budget(connection, workspace, project, who, gone=True)
            change.note("budget.removed", _target(workspace, project), before={"period": period})
            self._tenants.conclude(change)

        with self._tenants.noting_denials(workspace, who):
            self._need_budgets().remove(
                workspace=workspace, project=project, period=period, also=noted
            )

    def _for_budget(
        self,
        connection: "Connection",
        workspace: str,
        project: str | None,
        who: Actor | None,
        *,
        gone: bool = False,
    ) -> Change:
        """A change of a budget; the project may be gone, if so said."""
        change = self._tenants.claimed(connection, workspace, who)
        is_gone = gone and project is not None and not _is_there(change, project)
        change.need("budgets.update", None if is_gone else project)
        return change

    def _need_budgets(self) -> Budgets:
        if self._budgets is None:
            msg = "budgets belong to an `LLMOps`: use `ops.workspaces`, or `Workspaces(budgets=…)`"
            raise ConfigurationError(msg)
        return self._budgets


def _target(workspace: str, project: str | None) -> Target:
    return Target("workspace", workspace) if project is None else Target("project", project)


def _is_there(change: Change, project: str) -> bool:
    asked = change.within.select(projects, projects.c.id).where(projects.c.id == project)
    return change.connection.execute(asked).first() is not None


def _row(change: Change, project: str) -> Row[Any]:
    asked = change.within.select(projects).where(projects.c.id == project)
    return change.connection.execute(asked).one()


def _set(change: Change, project: str, **values: Any) -> None:
    changed = change.within.update(projects).where(projects.c.id == project)
    change.connection.execute(changed.values(values))


def _shares(
    connection: "Connection", workspace: str, project: str | None = None
) -> dict[str, tuple[str, ...]]:
    """With whom projects are shared one by one."""
    asked = Within(workspace).select(project_shares)
    if project is not None:
        asked = asked.where(project_shares.c.project == project)
    found = dict[str, tuple[str, ...]]()
    for row in connection.execute(asked.order_by(project_shares.c.user_id)):
        found[row.project] = (*found.get(row.project, ()), row.user_id)
    return found


def _is_seen(project: Project, who: Standing) -> bool:
    """As `sees` asks the database."""
    if who.actor.project not in (None, project.id):
        return False
    if who.actor.project == project.id and who.sees_all:
        return True
    is_theirs = who.person is not None and who.person in (project.made_by, *project.shared_with)
    return project.shared or is_theirs or who.may("projects.read_all")


def _project(row: Row[Any], shared_with: tuple[str, ...]) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        made_by=row.made_by,
        shared=row.shared,
        created_at=row.created_at,
        shared_with=shared_with,
    )
