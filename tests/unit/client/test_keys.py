from wg_orchestrator.client import KeyPair
from wg_orchestrator.domain.peer import PublicKey


def test_generated_keys_differ_and_the_service_accepts_the_public_one() -> None:
    one, two = KeyPair.generate(), KeyPair.generate()
    PublicKey.parse(one.public)
    assert len({one.private, one.public, two.private, two.public}) == 4
