from collections import OrderedDict
from typing import TypeVar

from wg_orchestrator.adapters.nats.claim import Claim, Place
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.stay import StayId
from wg_orchestrator.domain.tenant_id import TenantId

_Subject = TypeVar("_Subject")

MAX_VACANT = 100_000
"""How many free addresses and keys are remembered. For the others the stream is asked when it is needed."""


class Vacancies:
    """The last messages on the subjects of addresses and keys that are free."""

    def __init__(self) -> None:
        self._places: OrderedDict[Place, int] = OrderedDict()
        self._keys: OrderedDict[tuple[TenantId, PublicKey], int] = OrderedDict()
        self._covered: dict[StayId, Claim] = {}

    def sequences(self, claim: Claim) -> tuple[int, int]:
        """The sequences for the claim's key and address, as far as they are known; 0 if not."""
        return self._keys.get((claim.tenant_id, claim.peer.public_key), 0), self._places.get(claim.place, 0)

    def remember(self, claim: Claim) -> None:
        _remember(self._places, claim.place, claim.sequence)
        _remember(self._keys, (claim.tenant_id, claim.peer.public_key), key_sequence(claim))

    def cover(self, void: Claim, claim: Claim) -> None:
        """A claim that does not count any more was replaced on its address before it was taken out."""
        if void.peer.public_key != claim.peer.public_key:
            self._covered[void.stay.id] = void

    def covered_keys(self) -> list[Claim]:
        """Claims that may still be the last on their keys, though not on their addresses."""
        return list(self._covered.values())

    def forget_key(self, claim: Claim) -> None:
        """The key's last message is not this claim's any more."""
        self._covered.pop(claim.stay.id, None)

    def clear(self) -> None:
        self._places.clear()
        self._keys.clear()
        self._covered.clear()


def key_sequence(claim: Claim) -> int:
    """The sequence of the message on the claim's key. It is the one before the claim's own: the two are one batch."""
    return max(claim.sequence - 1, 0)


def _remember(memory: OrderedDict[_Subject, int], subject: _Subject, sequence: int) -> None:
    memory[subject] = sequence
    memory.move_to_end(subject)
    if len(memory) > MAX_VACANT:
        memory.popitem(last=False)
