"""The operators' live page while 5,000 peers join: `python -m bench.page [--peers N]`, in Chromium, two minutes.

Says how often the browser drew, how long a frame took, and what memory it has. The service, its peers and their notices
are real. The browser shares a core with them, and the service has the other one.
"""

import argparse
import time

from rich.console import Console

from bench.contenders import OURS_COMMAND
from bench.crowd import Crowd
from bench.errors import BrokenPromise
from bench.server import prepare_this_process
from bench.stage import Stage
from bench.watched import Watched

_BUDGET = 300.0


def main(peers: int) -> None:
    console = Console()
    prepare_this_process()
    with Watched(OURS_COMMAND) as server:
        crowd = Crowd(*server.ports)
        try:
            began = time.monotonic()
            Stage(server, crowd, _BUDGET, lambda _: None).fill(1, peers, 256)
            took = time.monotonic() - began
            seen = server.seen()
        finally:
            crowd.close()
    if seen["count"] != f"{peers} peers":
        raise BrokenPromise(f"the page shows {seen['count']}")
    console.print(
        f"{peers:,} peers joined in {took:.0f} s: {seen['frames']:,} frames, median {seen['median']:.0f} ms, "
        f"p99 {seen['p99']:.0f} ms, longest {seen['longest']:.0f} ms; heap {seen['heap'] / 2**20:.0f} MiB, "
        f"{seen['elements']} elements in the document"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=5000)
    main(parser.parse_args().peers)
