"""Teams over one database: `ops.workspaces`."""

from collections.abc import Collection

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger import Budgets
from llmops_langchain.storage import Database
from llmops_langchain.storage.hopping import hop
from llmops_langchain.workspaces.audits import Audits
from llmops_langchain.workspaces.checking import duration
from llmops_langchain.workspaces.gate import Gate
from llmops_langchain.workspaces.invitations import Invitations
from llmops_langchain.workspaces.keys import Keys
from llmops_langchain.workspaces.members import Members
from llmops_langchain.workspaces.own_roles import OwnRoles
from llmops_langchain.workspaces.permissions import Vocabulary
from llmops_langchain.workspaces.places import Places
from llmops_langchain.workspaces.projects import Projects
from llmops_langchain.workspaces.signing import AuditKeys
from llmops_langchain.workspaces.tenants import Tenants
from llmops_langchain.workspaces.upkeep import Upkeep

__all__ = ["Workspaces"]

_MONTH = 30 * 86_400.0


class Workspaces(Gate, Places, Members, Invitations, Projects, Keys, OwnRoles, Upkeep):
    """Workspaces with members, roles, invitations, projects, API keys and an audit log.

    Safe among threads and processes: changes of one workspace come one after another, each is
    committed together with its audit entry, and from its commit on it holds in every process. Each
    method with I/O has an `a…` twin that runs in a worker thread.

    Args:
        database: Where they are.
        permissions: Of the app's own, such as `["prompts.publish"]`, beside those of this package.
        audit_keys: What signs the audit log: secrets of 32 characters or more, the first one signs
            and all of them verify. Without one the log is a plain chain of hashes.
        retention: Seconds until a deleted workspace is purged.
        budgets: For `set_budget`.
        clock: Returns seconds since the Unix epoch.

    Raises:
        ConfigurationError: If a value makes no sense.

    Example:
        >>> with Database("sqlite://") as database:
        ...     teams = Workspaces(database)
        ...     shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com")
        ...     new = teams.invite(shop.id, "bo@example.com", "developer", actor="ann")
        ...     bo = teams.accept(new.token, user_id="bo")
        ...     teams.allowed("bo", "projects.create", shop.id)
        True
    """

    def __init__(
        self,
        database: Database,
        *,
        permissions: Collection[str] = (),
        audit_keys: Collection[str] = (),
        retention: float = _MONTH,
        budgets: Budgets | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._retention, self._budgets = duration(retention, "retention"), budgets
        keys = AuditKeys(tuple(audit_keys))
        self._tenants = Tenants(database, Vocabulary(permissions), keys, clock)
        self._takers, self._deliverers = [], []
        self._open_gate()

    arequire = hop(Gate.require)
    aallowed = hop(Gate.allowed)
    acheck_permission = hop(Gate.check_permission)
    acreate = hop(Places.create)
    aget = hop(Places.get)
    alist = hop(Places.list)
    aupdate = hop(Places.update)
    adelete = hop(Places.delete)
    arestore = hop(Places.restore)
    apurge = hop(Places.purge)
    amembers = hop(Members.members)
    achange_role = hop(Members.change_role)
    aremove_member = hop(Members.remove_member)
    aleave = hop(Members.leave)
    atransfer_ownership = hop(Members.transfer_ownership)
    ainvite = hop(Invitations.invite)
    ainvitations = hop(Invitations.invitations)
    arevoke_invitation = hop(Invitations.revoke_invitation)
    aaccept = hop(Invitations.accept)
    adecline = hop(Invitations.decline)
    acreate_project = hop(Projects.create_project)
    aprojects = hop(Projects.projects)
    aproject = hop(Projects.project)
    arename_project = hop(Projects.rename_project)
    adelete_project = hop(Projects.delete_project)
    ashare_project = hop(Projects.share_project)
    aunshare_project = hop(Projects.unshare_project)
    aset_budget = hop(Projects.set_budget)
    abudgets = hop(Projects.budgets)
    aremove_budget = hop(Projects.remove_budget)
    acreate_key = hop(Keys.create_key)
    akeys = hop(Keys.keys)
    arotate_key = hop(Keys.rotate_key)
    arevoke_key = hop(Keys.revoke_key)
    aauthenticate = hop(Keys.authenticate)
    aroles = hop(OwnRoles.roles)
    acreate_role = hop(OwnRoles.create_role)
    aupdate_role = hop(OwnRoles.update_role)
    adelete_role = hop(OwnRoles.delete_role)
    aaudit = hop(Audits.audit)
    arecord = hop(Audits.record)
    averify_audit = hop(Audits.verify_audit)
    aanchors = hop(Audits.anchors)
