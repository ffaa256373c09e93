"""Whatever clients do, each client's picture of its tenant is the truth.

PICTURES_SEEDS=100 tries 100 seeds; PICTURES_SEED=7 tries seed 7 again.
"""

import os

import pytest

from tests.integration.service import running
from tests.integration.storm import Storm

_SEED = os.environ.get("PICTURES_SEED")
_SEEDS = [int(_SEED)] if _SEED else range(int(os.environ.get("PICTURES_SEEDS", "6")))
_STEPS = int(os.environ.get("PICTURES_STEPS", "100"))
_LOSSY = bool(os.environ.get("PICTURES_LOSSY"))
"""A reset may be lost: then the service notices the end only by a ping."""


@pytest.mark.parametrize("seed", _SEEDS)
async def test_every_picture_is_the_truth_whatever_clients_do(seed: int) -> None:
    async with running(
        send_buffer_size=131_072 if _LOSSY else 2048,
        network="10.0.0.0/26",
        max_outbox_size=65536,
        join_timeout=300,
        ping_interval=1 if _LOSSY else 60,
        ping_timeout=5,
        close_timeout=0.3,
    ) as service:
        storm = Storm(service, seed, may_pause=not _LOSSY)
        try:
            await storm.run(_STEPS)
        except BaseException as fault:
            story = ", ".join(storm.trail)
            raise AssertionError(f"again with PICTURES_SEED={seed} PICTURES_STEPS={_STEPS}, after: {story}") from fault


@pytest.mark.parametrize("seed", _SEEDS)
async def test_whoever_a_stop_has_closed_is_out_whatever_the_others_do(seed: int) -> None:
    async with running(close_timeout=3600, shutdown_timeout=60, ping_interval=60) as service:
        storm = Storm(service, seed, may_pause=False)
        await storm.join(0)
        for number in range(1, 20):
            await storm.join(number)
        for _ in range(storm.random.randrange(5)):
            await storm.stall()
        await storm.stop()
