import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from wg_orchestrator.adapters.websocket.aim import AimRule, Endpoints
from wg_orchestrator.adapters.websocket.connection import Connection
from wg_orchestrator.adapters.websocket.proofs import Proof
from wg_orchestrator.adapters.websocket.updates import Change, Updates
from wg_orchestrator.domain.errors import InvalidDisplayName
from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.domain.peer import DisplayName, PublicKey, VirtualIP, parse_display_name
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.rfc6455.close import CLOSED_BY_PEER, Close
from wg_orchestrator.wire import close_codes as closes
from wg_orchestrator.wire.errors import MalformedMessage
from wg_orchestrator.wire.subprotocol import V1, V2
from wg_orchestrator.wire.v2 import requests

_GOODBYES = frozenset({1000, 1005})
"""What a peer's close frame says, or does not say, when it leaves."""

_NO_PATHS: Mapping[VirtualIP, PathKind] = MappingProxyType({})


Place: TypeAlias = tuple[TenantId, PublicKey]
"""A tenant and a key, which is live once in it."""


def place_of(stay: Stay) -> Place:
    return stay.tenant_id, stay.peer.public_key


class Session:
    """A stay and the connection that it lives on: the Listener of a peer that speaks protocol v1."""

    __slots__ = ("_ended", "_has_ended", "connection", "since", "source", "stay")

    protocol = V1

    def __init__(
        self, stay: Stay, connection: Connection, source: str, ended: Callable[["Session", Close], None]
    ) -> None:
        """`source` is where the peer connects from. `ended` is called once, with what has ended the connection."""
        self.stay = stay
        self.connection = connection
        self.source = source
        self.since = int(time.time())
        self._ended = ended
        self._has_ended = False

    @property
    def place(self) -> Place:
        return place_of(self.stay)

    def heard(self, message: str | bytes) -> None:
        # Text is ignored: a client may send keep-alives.
        if isinstance(message, bytes):
            self.connection.close(closes.TEXT_ONLY)

    def gone(self, cause: Close) -> None:
        if not self._has_ended:  # By a fault of ours before.
            self._has_ended = True
            self._ended(self, cause)

    def may_come_back(self, cause: Close) -> bool:
        """Whether the peer may come back to its stay after this has ended its connection: unless it said goodbye."""
        said_goodbye = cause.reason == CLOSED_BY_PEER and cause.code in _GOODBYES
        return self.stay.has_session and not said_goodbye


class V2Session(Session):
    """The same of a peer that speaks protocol v2: it may change its name and its endpoints."""

    __slots__ = (
        "_aim",
        "_announced",
        "_observed",
        "applied",
        "applied_at",
        "has_fixed_name",
        "paths",
        "proof",
        "updates",
    )

    protocol = V2

    def __init__(
        self,
        stay: Stay,
        connection: Connection,
        source: str,
        ended: Callable[[Session, Close], None],
        aim: AimRule,
        updates: Updates,
        has_fixed_name: bool = False,
    ) -> None:
        """`has_fixed_name`: the peer may not change its name."""
        super().__init__(stay, connection, source, ended)
        self._aim = aim
        self.applied = 0
        """The revision that the peer's WireGuard is as of, as far as the peer has said."""
        self.applied_at = 0
        """When it has said so, in seconds since 1970."""
        self.paths: Mapping[VirtualIP, PathKind] = _NO_PATHS
        """How the peer reaches others, as far as it has said."""
        self.updates = updates
        self.has_fixed_name = has_fixed_name
        self.proof: Proof | None = None
        # Of a stay that goes on, the first endpoint is where a peer that is proven was seen last.
        endpoints, count = stay.peer.endpoints, int(stay.peer.proven)
        self._observed, self._announced = endpoints[:count], endpoints[count:]

    def heard(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.connection.close(closes.TEXT_ONLY)
            return
        try:
            request = requests.parse_message(message)
            if isinstance(request, requests.Applied):
                if request.revision > self.applied:
                    self.applied, self.applied_at = request.revision, int(time.time())
                if request.paths:
                    self._take_paths(request.paths)
            else:
                name = None if request.display_name is None else parse_display_name(request.display_name)
                self.update(None if self.has_fixed_name else name, request.endpoints)
        except MalformedMessage:
            self.connection.close(closes.MALFORMED_MESSAGE)
        except InvalidDisplayName:
            self.connection.close(closes.BAD_DISPLAY_NAME)

    def _take_paths(self, paths: Mapping[VirtualIP, PathKind]) -> None:
        known = dict(self.paths)
        for address, kind in paths.items():
            known.pop(address, None)
            known[address] = kind
        while len(known) > requests.MAX_PATHS:  # What was said longest ago goes.
            del known[next(iter(known))]
        self.paths = known

    def update(self, display_name: DisplayName | None, endpoints: Endpoints | None) -> None:
        """Have a new name, or what may be passed on of new endpoints, told when it is due. None is unchanged."""
        listed = None
        if endpoints is not None:
            self._announced = self._aim(endpoints, self.source)
            listed = self._listed()
        self.updates.add(self.stay.peer, Change(display_name, listed))

    def take(self, proof: Proof | None) -> None:
        """Ask for this proof, if that was not done, and follow what it shows for as long as the connection lives."""
        self.proof = proof
        if proof is not None:
            proof.ask()
            proof.follow(self.seen_at)

    def seen_at(self, endpoints: Endpoints) -> None:
        """Have told that the peer has proven its key, and that this is where its packets come from."""
        self._observed = self._aim.observed(endpoints, self.source)
        self.updates.add(self.stay.peer, Change(None, self._listed(), is_proven=True))

    def gone(self, cause: Close) -> None:
        if self.proof is not None:
            self.proof.end()
        super().gone(cause)

    def _listed(self) -> Endpoints:
        return tuple(dict.fromkeys((*self._observed, *self._announced)))
