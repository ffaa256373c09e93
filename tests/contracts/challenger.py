"""What every Challenger promises. `prove` has the owner of the key answer a challenge, from an endpoint."""

from abc import ABC, abstractmethod
from ipaddress import ip_address

import pytest

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.ports import Challenge, Challenger

HERE, THERE = Endpoint.parse("203.0.113.9:4000"), Endpoint.parse("203.0.113.9:5000")
REACHED_AT = ip_address("198.51.100.1")


class Claimant:
    """Somebody who says that a key is theirs."""

    def __init__(self, challenger: Challenger, key: PublicKey, source: str = "203.0.113.9") -> None:
        self.seen: list[Endpoint] = []
        self.drops = 0
        self.challenge = challenger.claim(key, ip_address(source), REACHED_AT, self.seen.append, self._drop)

    def _drop(self) -> None:
        self.drops += 1


class ChallengerContract(ABC):
    @pytest.fixture
    @abstractmethod
    def challenger(self) -> Challenger: ...

    @property
    @abstractmethod
    def key(self) -> PublicKey:
        """The owner's."""

    @abstractmethod
    def prove(self, challenger: Challenger, challenge: Challenge, at: Endpoint) -> None: ...

    def test_a_proof_tells_where_the_owner_is_and_a_move_tells_it_again(self, challenger: Challenger) -> None:
        claimant = Claimant(challenger, self.key)
        assert claimant.seen == []
        self.prove(challenger, claimant.challenge, HERE)
        self.prove(challenger, claimant.challenge, HERE)
        self.prove(challenger, claimant.challenge, THERE)
        assert claimant.seen == [HERE, THERE]

    def test_a_challenge_says_where_it_can_be_met(self, challenger: Challenger) -> None:
        challenge = Claimant(challenger, self.key).challenge
        assert [endpoint.address for endpoint in challenge.endpoints] == [REACHED_AT]
        assert challenge.preshared_key not in repr(challenge)

    def test_each_challenge_proves_its_own_claim_alone(self, challenger: Challenger) -> None:
        stranger, owner = Claimant(challenger, self.key), Claimant(challenger, self.key)
        assert stranger.challenge.preshared_key != owner.challenge.preshared_key
        self.prove(challenger, owner.challenge, HERE)
        assert (stranger.seen, owner.seen) == ([], [HERE])

    def test_what_is_released_is_told_nothing_any_more(self, challenger: Challenger) -> None:
        proven, waiting = Claimant(challenger, self.key), Claimant(challenger, self.key)
        self.prove(challenger, proven.challenge, HERE)
        for one in (proven, waiting, proven):
            challenger.release(one.challenge)
        self.prove(challenger, proven.challenge, THERE)
        self.prove(challenger, waiting.challenge, THERE)
        assert (proven.seen, waiting.seen, proven.drops, waiting.drops) == ([HERE], [], 0, 0)

    def test_of_many_that_wait_the_oldest_is_dropped_and_a_proven_one_never(self, challenger: Challenger) -> None:
        proven = Claimant(challenger, self.key)
        self.prove(challenger, proven.challenge, HERE)
        crowd = [Claimant(challenger, self.key) for _ in range(20)]
        kept = [one for one in crowd if not one.drops]
        assert 1 <= len(kept) < 10
        assert crowd[-len(kept) :] == kept
        assert {one.drops for one in crowd} == {0, 1}
        assert proven.drops == 0
        self.prove(challenger, crowd[0].challenge, THERE)
        self.prove(challenger, kept[0].challenge, THERE)
        self.prove(challenger, proven.challenge, THERE)
        assert (crowd[0].seen, kept[0].seen, proven.seen) == ([], [THERE], [HERE, THERE])

    def test_of_many_that_wait_those_of_one_source_do_not_drop_that_of_another(self, challenger: Challenger) -> None:
        owner = Claimant(challenger, self.key, "192.0.2.1")
        crowd = [Claimant(challenger, self.key) for _ in range(20)]
        assert owner.drops == 0
        assert sum(one.drops for one in crowd) > 10
        self.prove(challenger, owner.challenge, HERE)
        assert owner.seen == [HERE]
