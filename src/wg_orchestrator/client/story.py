"""What a client of protocol v2 says of what happens: as lines for people, and as lines of JSON for programs."""

import json
from collections.abc import Mapping
from typing import Any

from wg_orchestrator.client.member import Event, Lost
from wg_orchestrator.client.screen import Screen
from wg_orchestrator.domain.events import assert_never
from wg_orchestrator.domain.peer import DisplayName, Peer, PublicKey
from wg_orchestrator.wire.v2.notices import Joined, Left, Prove, Proven, Resumed, Updated, Welcome


class Story:
    """Tells the events of one client in their order."""

    def __init__(self) -> None:
        self._names: dict[PublicKey, DisplayName] = {}

    def tell(self, event: Event, screen: Screen) -> None:
        """Show what an event says to people."""
        match event:
            case Welcome():
                self._names = {peer.public_key: peer.display_name for peer in event.peers}
                screen.note(f"you are {event.virtual_ip}; {len(event.peers)} others", "bold")
            case Resumed():
                screen.note(f"back as {event.virtual_ip}", "bold")
            case Joined(_, peer):
                self._names[peer.public_key] = peer.display_name
                screen.note(f"+ {peer.virtual_ip}  {peer.display_name}{_places(peer)}", "green")
            case Updated(_, peer):
                self._names[peer.public_key] = peer.display_name
                screen.note(f"~ {peer.virtual_ip}  {peer.display_name}{_places(peer)}", "cyan")
            case Left(_, public_key, virtual_ip):
                screen.note(f"- {virtual_ip}  {self._names.pop(public_key, '')}", "red")
            case Lost(cause, retry_in):
                screen.note(f"{cause}; trying again in {retry_in:.1f} s")
            case Prove():
                screen.note("the service asks for a proof of the key, which this client can't give")
            case Proven(endpoint):
                screen.note(f"proven; packets come from {endpoint}")
            case _:
                assert_never(event)


def as_json(event: Event) -> str:
    """An event as one line of JSON, with the protocol's names, and without secrets."""
    match event:
        case Welcome() | Resumed():
            fields: Mapping[str, Any] = {
                "type": "welcome" if isinstance(event, Welcome) else "resumed",
                "revision": event.revision,
                "grace": event.grace,
                "virtual_ip": str(event.virtual_ip),
                "network": str(event.network),
                **({"peers": [_entry(peer) for peer in event.peers]} if isinstance(event, Welcome) else {}),
            }
        case Joined(revision, peer):
            fields = {"type": "joined", "revision": revision, "peer": _entry(peer)}
        case Updated(revision, peer):
            fields = {"type": "updated", "revision": revision, "peer": _entry(peer)}
        case Left(revision, public_key, virtual_ip):
            fields = {
                "type": "left", "revision": revision, "public_key": str(public_key), "virtual_ip": str(virtual_ip)
            }  # fmt: skip
        case Lost(cause, retry_in):
            fields = {"type": "lost", "cause": cause, "retry_in": round(retry_in, 3)}
        case Prove():
            fields = {"type": "prove", "public_key": str(event.public_key)}
        case Proven(endpoint):
            fields = {"type": "proven", "endpoint": str(endpoint)}
        case _:
            assert_never(event)
    return json.dumps(fields)


def _entry(peer: Peer) -> dict[str, Any]:
    return {
        "display_name": peer.display_name,
        "public_key": str(peer.public_key),
        "virtual_ip": str(peer.virtual_ip),
        "endpoints": list(map(str, peer.endpoints)),
        "proven": peer.proven,
    }


def _places(peer: Peer) -> str:
    return f"  at {', '.join(map(str, peer.endpoints))}" if peer.endpoints else ""
