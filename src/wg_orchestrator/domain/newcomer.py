from dataclasses import dataclass

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import DisplayName, PublicKey, VirtualIP, parse_display_name
from wg_orchestrator.domain.stay import NO_INVITATION, InvitationId


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who wants to join a tenant."""

    display_name: DisplayName
    public_key: PublicKey
    endpoints: tuple[Endpoint, ...] = ()
    """Where its WireGuard can be reached, best first: those that may be passed on."""
    wish: VirtualIP | None = None
    """The address that it would like to have."""
    invitation: InvitationId = NO_INVITATION
    """By which it comes in, if it is by one."""
    until: int | None = None
    """When its stay has to end, in seconds since 1970."""

    @classmethod
    def parse(
        cls, display_name: str, public_key: str, endpoints: tuple[Endpoint, ...] = (), wish: VirtualIP | None = None
    ) -> "Newcomer":
        """Check the texts that a client has sent. Raises InvalidDisplayName or InvalidPublicKey."""
        return cls(parse_display_name(display_name), PublicKey.parse(public_key), endpoints, wish)
