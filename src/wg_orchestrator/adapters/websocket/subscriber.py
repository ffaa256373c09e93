from dataclasses import dataclass

from wg_orchestrator.adapters.websocket.connection import Recipient
from wg_orchestrator.wire.subprotocol import V1


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is to be welcomed to a tenant, and told what happens there from then on."""

    recipient: Recipient
    version: str = V1
    """Of the protocol that it speaks, by its subprotocol."""
    secret: str = ""
    """Of its session, to be told to it; empty if it has none."""
    knows: int | None = None
    """The revision of the picture that it has already. None: it has none."""
