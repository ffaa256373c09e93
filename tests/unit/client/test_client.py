import itertools

import pytest

from tests.builders import a_key_text
from wg_orchestrator.client.client import MAX_RETRY_DELAY, KeyPair, Roster, retry_delays
from wg_orchestrator.domain.peer import PublicKey


def entry(number: int) -> dict[str, str]:
    return {"display_name": "x", "public_key": a_key_text(number), "virtual_ip": f"100.64.0.{number}"}


def test_a_roster_is_the_welcome_and_each_notice_after_it() -> None:
    roster = Roster()
    roster.apply({"virtual_ip": "100.64.0.9", "peers": [entry(1), entry(2)]})
    roster.apply(entry(3))
    roster.apply({"removed_peer": "100.64.0.1"})
    assert roster.virtual_ip == "100.64.0.9"
    assert roster.peers == {"100.64.0.2": entry(2), "100.64.0.3": entry(3)}


def test_a_new_welcome_replaces_the_roster() -> None:
    roster = Roster()
    roster.apply({"virtual_ip": "100.64.0.9", "peers": [entry(1)]})
    roster.apply({"virtual_ip": "100.64.0.8", "peers": []})
    assert (roster.virtual_ip, roster.peers) == ("100.64.0.8", {})


@pytest.mark.parametrize("message", [entry(1), entry(9), {"removed_peer": "100.64.0.2"}])
def test_a_notice_that_contradicts_the_roster_is_an_error(message: dict[str, str]) -> None:
    roster = Roster()
    roster.apply({"virtual_ip": "100.64.0.9", "peers": [entry(1)]})
    with pytest.raises(ValueError, match=r"100\.64"):
        roster.apply(message)


def test_a_generated_key_pair_is_one_that_the_service_takes() -> None:
    one, two = KeyPair.generate(), KeyPair.generate()
    PublicKey.parse(one.public)
    assert len({one.private, one.public, two.private, two.public}) == 4


def test_retries_come_later_and_later_within_a_bound() -> None:
    delays = list(itertools.islice(retry_delays(), 200))
    assert all(0 <= delay <= min(2**attempt, MAX_RETRY_DELAY) for attempt, delay in enumerate(delays))
    assert len(set(delays)) == len(delays)
