"""Lets clients whose connection has ended come back, each to the place that it had."""

from collections.abc import Callable, Sequence

from bench.client import Client
from bench.dialect import V2, Place
from bench.errors import BrokenPromise
from bench.stage import SETTLE, Stage


def come_back(
    stage: Stage, gone: Sequence[Client], at_once: int, node: Callable[[Client], int] = lambda client: client.node
) -> None:
    """Let these clients connect and join again, `at_once` at a time. Those that speak v2 resume.

    `node` says which node a client comes back to.
    """
    # If nobody has left or joined since, the last client that came to a tenant was told the tenant's last revision. It
    # may be one of those that are still there.
    revisions = dict[str, int]()
    for client in (*stage.members, *gone):
        if client.place is not None:
            revisions[client.tenant] = max(revisions.get(client.tenant, 0), client.place.revision)
    waiting = iter(gone)

    def back(_: Client | None = None) -> None:
        if (old := next(waiting, None)) is None:
            return
        before = _place(old, revisions)
        sampled = old.raw is not None and before is None
        who, where = old.identity, old.tenant
        client = Client(who, where, dialect=old.dialect, before=before, node=node(old), sampled=sampled, on_member=back)
        stage.members.append(client)
        stage.crowd.connect(client)

    for _ in range(at_once):
        back()


def _place(client: Client, revisions: dict[str, int]) -> Place | None:
    if client.dialect is not V2 or client.place is None:
        return None
    return client.place._replace(revision=revisions[client.tenant])


def all_resumed(stage: Stage, admitted: int, *, may_be_anew: bool = False) -> float:
    """Wait until all have resumed, with their session and address, and return when the last one was back. Raises
    BrokenPromise if a notice was told meanwhile.

    `may_be_anew`: they may be given a welcome, because the node does not have the history.
    """
    crowd, notices = stage.crowd, stage.crowd.notices
    if not crowd.run(lambda: crowd.admitted >= admitted, stage.budget):
        raise BrokenPromise(f"{admitted - crowd.admitted} of {len(stage.members)} peers did not get back in")
    crowd.rest(SETTLE)
    for client in stage.members:
        if client.before is not None and client.place is not None:
            if client.place.session != client.before.session or client.place.virtual_ip != client.before.virtual_ip:
                raise BrokenPromise(f"{client.identity.name} has another session or address than before")
            if client.place.listed is not None and not may_be_anew:
                raise BrokenPromise(f"{client.identity.name} was welcomed anew")
    if crowd.notices != notices:
        raise BrokenPromise(f"{crowd.notices - notices} notices were told, and nobody had come or gone")
    return crowd.last_admitted
