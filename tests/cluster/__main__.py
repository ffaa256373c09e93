"""`python -m tests.cluster [--operations N] [--faults N] [--seed N]`: the cluster test, as long as you like."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

import anyio

from tests.cluster.chaos import Chaos
from tests.cluster.cluster import Cluster


async def chaos(seed: int, operations: int, faults: int, folder: Path) -> None:
    sys.stderr.write(f"seed {seed}, logs in {folder}\n")
    cluster = Cluster(folder)
    try:
        await cluster.start()
        run = Chaos(cluster, seed, operations, faults)
        try:
            await run.run()
        finally:
            sys.stderr.write("".join(f"{count:8} {what}\n" for what, count in sorted(run.log.items())))
    finally:
        cluster.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    anyio.run(chaos, options.seed, options.operations, options.faults, Path(tempfile.mkdtemp(prefix="chaos-")))


if __name__ == "__main__":
    main()
