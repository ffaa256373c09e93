from collections.abc import Sequence

from wg_orchestrator.adapters.websocket import messages
from wg_orchestrator.adapters.websocket.connection import Connection
from wg_orchestrator.domain.events import MembershipEvent, PeerLeft
from wg_orchestrator.domain.peer import Peer, VirtualIP
from wg_orchestrator.domain.tenant_id import TenantId


class WebSocketPeerNotifier:
    """A PeerNotifier that writes each notice to the WebSockets of its tenant: framed once, one write per peer.

    A connection takes the bytes without waiting. One that is full or broken ends itself, and its peer then leaves
    like any other.
    """

    def __init__(self) -> None:
        self._connections: dict[TenantId, dict[VirtualIP, Connection]] = {}

    def welcome(self, tenant_id: TenantId, newcomer: Peer, others: Sequence[Peer], subscriber: Connection) -> None:
        self._connections.setdefault(tenant_id, {})[newcomer.virtual_ip] = subscriber
        subscriber.welcome(messages.welcome(newcomer, others))

    def announce(self, event: MembershipEvent) -> None:
        connections = self._connections.get(event.tenant_id)
        if connections is None:
            return
        subject = event.peer.virtual_ip
        if isinstance(event, PeerLeft):
            connections.pop(subject, None)
            if not connections:
                del self._connections[event.tenant_id]
                return
        message = messages.notice(event)
        for virtual_ip, connection in connections.items():
            if virtual_ip != subject:
                connection.send(message)
