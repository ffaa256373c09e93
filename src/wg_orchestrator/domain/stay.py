import re
from dataclasses import dataclass
from typing import NewType

from wg_orchestrator.domain.errors import InvalidInvitationId
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.session import NO_SESSION, SessionDigest
from wg_orchestrator.domain.tenant_id import TenantId

StayId = NewType("StayId", str)
InvitationId = NewType("InvitationId", str)

NO_INVITATION = InvitationId("")

_INVITATION_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


def parse_invitation_id(text: str) -> InvitationId:
    """Return `text` as an invitation's id, or raise InvalidInvitationId."""
    if not _INVITATION_ID.fullmatch(text):
        raise InvalidInvitationId("an invitation's id is 1 to 128 characters of A-Z a-z 0-9 . _ ~ -")
    return InvitationId(text)


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay of a peer in a tenant, from its join to its leave.

    Its id makes it one. A peer that leaves and comes back is another stay, even with the same name, key and address:
    what ends the first one late does not end the second.

    A stay with a session may outlive its connection. Then the peer resumes it on another connection, with the next
    `turn`: what ends an earlier turn late does not end this one.
    """

    id: StayId
    tenant_id: TenantId
    peer: Peer
    session: SessionDigest = NO_SESSION
    turn: int = 0
    invitation: InvitationId = NO_INVITATION
    """By which the peer has come in, if it was by one."""
    until: int | None = None
    """When it has to end, in seconds since 1970; None: whenever the peer leaves."""

    @property
    def has_session(self) -> bool:
        """Whether the peer can come back to it."""
        return self.session != NO_SESSION
