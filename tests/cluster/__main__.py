"""The chaos run as a command: `python -m tests.cluster [--operations N] [--faults N] [--servers N] [--seed N] …`."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import anyio

from harness.cluster import SERVICES, Cluster
from tests.cluster.chaos import Chaos, Fault
from tests.cluster.churn import FULL, WIDE, Shape
from tests.cluster.episodes import EPISODES
from tests.cluster.faults import drawn
from tests.cluster.gap import gap
from tests.cluster.sessions import session_chaos

SHAPES = {"wide": WIDE, "full": FULL}
PARTS = (*SHAPES, "gap", "sessions")


async def chaos(
    seed: int,
    operations: int,
    faults: Sequence[Fault],
    folder: Path,
    *,
    shape: Shape = WIDE,
    servers: int = 3,
    calm: int = 200,
    minutes: float = 5,
) -> None:
    """Raises AssertionError, or a group with one in it; TimeoutError if it takes too long."""
    sys.stderr.write(f"seed {seed}, tenants of {shape.network}, {servers} NATS servers, logs in {folder}\n")
    cluster = Cluster(folder, servers, ("--network", shape.network))
    try:
        with anyio.fail_after(60 * minutes):
            await cluster.start()
            run = Chaos(cluster, seed, shape, operations, faults, calm)
            try:
                await run.run()
            finally:
                sys.stderr.write("".join(f"{count:8} {what}\n" for what, count in sorted(run.log.items())))
    finally:
        cluster.stop()


def faults_of(seed: int, count: int, servers: int, episodes: Collection[str] = EPISODES) -> list[Fault]:
    """`count` faults in the order that the seed draws: each of the episodes once, and random strikes."""
    pick = random.Random(seed)
    faults: list[Fault] = [drawn(pick, SERVICES, servers) for _ in range(count - len(episodes))]
    for episode in episodes:
        faults.insert(pick.randint(0, len(faults)), episode)
    return faults


async def all_parts(options: argparse.Namespace, folder: Path) -> None:
    """Half of it in wide tenants, half in full ones; then the gap; then as many steps of sessions."""
    for number, (name, shape) in enumerate(SHAPES.items()):
        if options.part in ("all", name):
            await chaos(
                options.seed + number,
                options.operations // 2,
                faults_of(
                    options.seed + number, options.faults // 2, options.servers, EPISODES if options.episodes else ()
                ),
                folder / name,
                shape=shape,
                servers=options.servers,
                calm=options.calm // 2,
                minutes=options.minutes / 2,
            )
    if options.part in ("all", "gap"):
        await gap(folder / "gap")
    if options.part in ("all", "sessions"):
        await session_chaos(
            options.seed, options.operations, options.faults // 2, folder / "sessions", minutes=options.minutes / 2
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--operations", type=int, default=100_000, help="joins and leaves (%(default)s)")
    parser.add_argument("--faults", type=int, default=80, help="faults among them (%(default)s)")
    parser.add_argument("--servers", type=int, default=1, choices=(1, 3), help="NATS servers (%(default)s)")
    parser.add_argument("--calm", type=int, default=1000, help="stays without faults after that (%(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="time after which the run has failed (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="seed of all random choices")
    parser.add_argument(
        "--episodes",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="with a mute peer and with invalid claims",
    )
    parser.add_argument("--part", choices=("all", *PARTS), default="all", help="the part to run (%(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that SIGTERM ends the cluster's processes, too.
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    for part in PARTS:
        (folder / part).mkdir()
    anyio.run(all_parts, options, folder, backend_options={"use_uvloop": True})
    shutil.rmtree(folder)  # The logs of a run that failed are kept.
    sys.stderr.write(f"all that must hold held, with seed {options.seed}\n")


if __name__ == "__main__":
    main()
