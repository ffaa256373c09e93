import pytest

from tests.builders import a_key
from tests.contracts.challenger import ChallengerContract
from tests.fakes_proof import FakeChallenger
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.ports import Challenge, Challenger


class TestFakeChallenger(ChallengerContract):
    @pytest.fixture
    def challenger(self) -> Challenger:
        return FakeChallenger()

    @property
    def key(self) -> PublicKey:
        return a_key(1)

    def prove(self, challenger: Challenger, challenge: Challenge, at: Endpoint) -> None:
        assert isinstance(challenger, FakeChallenger)
        challenger.prove(challenge, at)
