from pathlib import Path

from tests.cluster.__main__ import chaos


async def test_a_cluster_under_faults_stays_one_service(tmp_path: Path) -> None:
    """In small; `make chaos` is the long one."""
    await chaos(seed=1, operations=800, faults=3, folder=tmp_path)
