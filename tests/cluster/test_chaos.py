from pathlib import Path

from tests.cluster.__main__ import chaos
from tests.cluster.churn import FULL, WIDE
from tests.cluster.episodes import EPISODES
from tests.cluster.faults import Strike
from tests.cluster.gap import gap
from tests.cluster.sessions import session_chaos

STORE_LOST_WHILE_A_SERVICE_STANDS = [Strike("stop", 0, lasts=2.6), Strike("delete", after=1.0)]
NATS_KILLED_WHILE_LINKS_ARE_STRUCK = [
    Strike("cut", 0, lasts=1.0),
    Strike("stall", 1, lasts=2.6),
    Strike("slow", 2, lasts=2.6),
    Strike("kill NATS", 0, after=0.5, lasts=0.2),
]


async def test_a_cluster_under_faults_stays_one_service(tmp_path: Path) -> None:
    """A short run. `make chaos` is the long one."""
    faults = [[Strike("stop", 1, lasts=7.0)], [Strike("kill", 2, lasts=0.2)], [Strike("stop NATS", 0, lasts=1.0)]]
    await chaos(37, 1200, faults, tmp_path, calm=40)


async def test_nobody_is_told_of_a_false_leave_and_no_address_is_held_twice(tmp_path: Path) -> None:
    """Tenants are full, the store is lost, and services and their links are stopped."""
    faults = [STORE_LOST_WHILE_A_SERVICE_STANDS, NATS_KILLED_WHILE_LINKS_ARE_STRUCK]
    await chaos(1, 1200, faults, tmp_path, shape=FULL, servers=1, calm=20)


async def test_neither_a_mute_peer_at_a_stop_nor_an_invalid_claim_keeps_anybody_out(tmp_path: Path) -> None:
    """Each episode has a rule of its own."""
    await chaos(1, 600, list(EPISODES), tmp_path, shape=WIDE, servers=1, calm=20)


async def test_a_peer_that_keeps_reading_is_told_of_all_who_joined_while_its_service_was_cut_off(
    tmp_path: Path,
) -> None:
    await gap(tmp_path)


async def test_sessions_outlive_the_nodes_that_they_are_on(tmp_path: Path) -> None:
    """In small; `make chaos` is the long one."""
    await session_chaos(3, 1500, 4, tmp_path, grace=8, members=30)
