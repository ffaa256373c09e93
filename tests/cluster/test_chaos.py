from pathlib import Path

from tests.cluster.__main__ import chaos
from tests.cluster.churn import FULL, WIDE
from tests.cluster.faults import Strike
from tests.cluster.gap import gap

STORE_LOST_WHILE_A_SERVICE_STANDS = [Strike("stop", 0, lasts=2.6), Strike("delete", after=1.0)]
NATS_KILLED_WHILE_LINKS_ARE_STRUCK = [
    Strike("cut", 0, lasts=1.0),
    Strike("stall", 1, lasts=2.6),
    Strike("slow", 2, lasts=2.6),
    Strike("kill NATS", 0, after=0.5, lasts=0.2),
]


async def test_a_cluster_under_faults_stays_one_service(tmp_path: Path) -> None:
    """In small; `make chaos` is the long one."""
    faults = [[Strike("stop", 1, lasts=7.0)], [Strike("kill", 2, lasts=0.2)], [Strike("stop NATS", 0, lasts=1.0)]]
    await chaos(37, 1500, faults, tmp_path, calm=100)


async def test_nobody_is_told_of_a_leave_that_was_none_and_no_address_is_held_twice(tmp_path: Path) -> None:
    """In tenants that are full, while the store is lost and services and their links stand still."""
    faults = [STORE_LOST_WHILE_A_SERVICE_STANDS, NATS_KILLED_WHILE_LINKS_ARE_STRUCK]
    await chaos(1, 1500, faults, tmp_path, shape=FULL, servers=1, calm=50)


async def test_who_is_told_to_come_back_is_let_in_elsewhere_while_a_mute_peer_is_still_waited_for(
    tmp_path: Path,
) -> None:
    await chaos(1, 600, ["mute_at_a_stop"], tmp_path, shape=WIDE, servers=1, calm=20)


async def test_a_claim_that_is_none_keeps_nobody_out(tmp_path: Path) -> None:
    faults = ["name_that_is_a_number", "key_that_is_a_list", "node_that_is_a_list"]
    await chaos(1, 600, faults, tmp_path, shape=WIDE, servers=1, calm=20)


async def test_a_reader_that_keeps_up_hears_of_all_who_came_while_its_service_heard_nothing(tmp_path: Path) -> None:
    await gap(tmp_path)
