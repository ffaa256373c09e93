"""The rules of the chaos run, on made-up stays: what breaks them, and what does not."""

import time
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from harness.cluster import ServiceProcess
from harness.nats_server import PATIENCE
from harness.peer import Peer
from harness.proxy import Link
from tests.cluster.rules import Broken, Rules
from tests.cluster.witness import Witness

SILENT = 6.0
"""Seconds: longer than a lease lasts."""


class Told:
    """Two services with a stay each, in one tenant."""

    def __init__(self, folder: Path) -> None:
        self.witness = Witness()
        self.witness._available_since -= 60
        self.rules = Rules(self.witness, soon=0.05)
        self.here, self.there = (ServiceProcess(folder, number, number, Link([]), ()) for number in (1, 2))
        self.observer = self.a_stay("observer", self.here, "100.64.0.1")
        self.stay = self.a_stay("stay", self.there, "100.64.0.2")

    def a_stay(self, name: str, service: ServiceProcess, address: str) -> Peer:
        peer = Peer("acme", name, name, service, cast("Any", None))
        peer.roster.virtual_ip = address
        peer.since -= 30
        self.witness.nodes[name] = f"node-of-{service.address}"
        self.witness.claimed[name] = peer.since
        self.rules.welcomed(peer)
        return peer

    def told_of_a_leave(self) -> None:
        self.observer.on_left(self.observer, "stay")

    def silent(self, seconds: float, *, by_us: float) -> None:
        """The stay's node was silent for `seconds` until now. For the last `by_us` of them it was because of us."""
        now = time.monotonic()
        self.witness._last_word[self.witness.nodes["stay"]] = now - seconds
        self.witness.disturbed(self.there).start = now - by_us


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


async def is_broken(told: Told) -> bool:
    """Judge until nothing is in doubt any more. Returns whether a rule was broken."""
    try:
        with anyio.fail_after(PATIENCE):
            while not told.rules.judge():
                await anyio.sleep(0.01)
    except Broken:
        return True
    return False


async def test_a_leave_of_a_live_stay_is_false(told: Told) -> None:
    told.told_of_a_leave()
    assert await is_broken(told)


async def test_a_leave_of_a_stay_that_has_begun_to_leave_is_true(told: Told) -> None:
    told.rules.leaves(told.stay)
    told.told_of_a_leave()
    assert not await is_broken(told)


async def test_a_leave_that_is_told_before_its_peer_leaves_stays_false(told: Told) -> None:
    told.told_of_a_leave()
    told.stay.leaving = True
    told.rules.leaves(told.stay)
    told.stay.code = 1000
    assert await is_broken(told)


async def test_a_leave_is_true_if_the_node_was_killed(told: Told) -> None:
    told.there.lives += 1
    told.told_of_a_leave()
    assert not await is_broken(told)


async def test_a_leave_is_true_if_the_node_was_silent_for_its_lease_because_of_us(told: Told) -> None:
    told.silent(SILENT, by_us=SILENT)
    told.told_of_a_leave()
    assert not await is_broken(told)


@pytest.mark.parametrize(("seconds", "by_us"), [(SILENT, 0.0), (3.6, 2.6)], ids=["not because of us", "too short"])
async def test_a_silence_that_is_too_short_or_not_because_of_us_is_no_excuse(
    told: Told, seconds: float, by_us: float
) -> None:
    told.silent(seconds, by_us=by_us)
    told.told_of_a_leave()
    assert await is_broken(told)


@pytest.mark.parametrize("begins", [-1.0, 1.0], ids=["before", "after"])
async def test_a_silence_that_turns_out_to_be_long_enough_excuses_what_was_told_in_it(
    told: Told, begins: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.told_of_a_leave()
    now = time.monotonic()
    monkeypatch.setattr(told.witness, "silences", lambda *_: [(now + begins, now + SILENT)])
    assert await is_broken(told) is (begins > 0)


async def test_time_in_which_no_server_runs_is_not_part_of_a_silence(told: Told) -> None:
    told.silent(SILENT, by_us=SILENT)
    told.witness._available_since = time.monotonic() - 3.0
    told.told_of_a_leave()
    assert await is_broken(told)


async def test_an_address_of_two_live_stays_is_held_twice(told: Told) -> None:
    told.a_stay("other", told.here, "100.64.0.2")
    assert await is_broken(told)


async def test_an_address_may_be_given_away_while_its_node_is_silent_but_not_for_longer(told: Told) -> None:
    told.silent(SILENT, by_us=SILENT)
    told.a_stay("other", told.here, "100.64.0.2")
    assert not told.rules.judge()
    told.witness._last_word[told.witness.nodes["stay"]] = time.monotonic()
    assert await is_broken(told)


@pytest.mark.parametrize("code", [1000, 1006, 1008, 1011, 1012, 1013, 4003])
async def test_the_end_of_a_stay_breaks_a_rule_if_nothing_was_done_to_its_node(told: Told, code: int) -> None:
    told.stay.code = code
    with pytest.raises(Broken):
        told.rules.ended(told.stay)


async def test_a_stay_may_be_ended_with_1013_after_a_silence(told: Told) -> None:
    told.silent(SILENT, by_us=SILENT)
    told.stay.code = 1013
    told.rules.ended(told.stay)
