"""`python -m tests.cluster [--operations N] [--faults N] [--seed N]`: the cluster test, as long as you like."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import anyio

from tests.cluster.chaos import Chaos
from tests.cluster.cluster import Cluster


async def chaos(
    seed: int, operations: int, faults: int, folder: Path, *, crowd: int = 40, calm: int = 200, minutes: float = 5
) -> None:
    """Raises AssertionError, or a group with one in it; TimeoutError if it takes too long."""
    sys.stderr.write(f"seed {seed}, logs in {folder}\n")
    cluster = Cluster(folder)
    try:
        with anyio.fail_after(60 * minutes):
            await cluster.start()
            run = Chaos(cluster, seed, operations, faults, crowd, calm)
            try:
                await run.run()
            finally:
                sys.stderr.write("".join(f"{count:8} {what}\n" for what, count in sorted(run.log.items())))
    finally:
        cluster.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--operations", type=int, default=100_000, help="joins and leaves (%(default)s)")
    parser.add_argument("--faults", type=int, default=60, help="faults among them (%(default)s)")
    parser.add_argument("--calm", type=int, default=1000, help="stays after that, each to be told once (%(default)s)")
    parser.add_argument("--crowd", type=int, default=60, help="clients that come and go at a time (%(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="after which it has failed (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of what is picked at random")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # It takes its processes with it.
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    arguments = options.seed, options.operations, options.faults, folder
    run = lambda: chaos(*arguments, crowd=options.crowd, calm=options.calm, minutes=options.minutes)  # noqa: E731
    anyio.run(run, backend_options={"use_uvloop": True})
    shutil.rmtree(folder)  # Of a run that failed, the logs are worth something.
    sys.stderr.write(f"all that must hold held, with seed {options.seed}\n")


if __name__ == "__main__":
    main()
