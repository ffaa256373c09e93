"""Whatever peers of both protocols do, all pictures are the truth, and those of equal revision are equal.

SESSIONS_SEEDS=100 tries 100 seeds; SESSIONS_SEED=7 tries seed 7 again.
"""

import os

import pytest

from tests.integration.service import running
from tests.integration.session_storm import storm

_SEED = os.environ.get("SESSIONS_SEED")
_SEEDS = [int(_SEED)] if _SEED else range(int(os.environ.get("SESSIONS_SEEDS", "4")))
_STEPS = int(os.environ.get("SESSIONS_STEPS", "80"))


@pytest.mark.parametrize("seed", _SEEDS)
async def test_every_picture_is_the_truth_whatever_peers_of_both_protocols_do(seed: int) -> None:
    async with running(grace=60, update_interval=0.01, network="10.0.0.0/26", ping_interval=60) as service:
        await storm([service], seed, _STEPS)
