from pathlib import Path

from tests.cluster.__main__ import chaos


async def test_a_cluster_under_faults_stays_one_service(tmp_path: Path) -> None:
    """In small; `make chaos` is the long one. With this seed a service is stopped for longer than its lease lasts,
    another is killed, and one is stopped for a moment.
    """
    await chaos(seed=37, operations=1500, faults=3, folder=tmp_path, calm=100)
