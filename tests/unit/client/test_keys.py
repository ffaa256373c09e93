from wg_orchestrator.client import KeyPair
from wg_orchestrator.domain.peer import PublicKey


def test_a_generated_key_pair_is_one_that_the_service_takes() -> None:
    one, two = KeyPair.generate(), KeyPair.generate()
    PublicKey.parse(one.public)
    assert len({one.private, one.public, two.private, two.public}) == 4
