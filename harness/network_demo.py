"""A service and four machines in network namespaces, in public, behind a NAT and behind another one, on one screen:
`python -m harness.network_demo`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.agents import Peer, Service
from harness.namespaces import Internet, missing

_PACE = 1.0
_PATIENCE = 60.0


def main() -> None:
    """Run until Ctrl-C, or with `--once` until all have pinged each other; fails if they don't in a minute."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true", help="end when all have pinged each other")
    parser.add_argument("--svg", type=Path, help="with --once: save the last screen as a picture")
    options = parser.parse_args()
    lacking = missing()
    if sys.platform != "linux" or lacking is not None:
        sys.exit(f"make network needs Linux, and here: {lacking}")
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        internet = stack.enter_context(Internet())
        console.print("setting up a public network, two NATs, a service and four machines …")
        service = Service(internet.public("service"), folder, "--rendezvous-port", "51820").start()
        stack.callback(service.kill)
        near, far = internet.nat("near"), internet.nat("far")
        places = {
            "public": internet.public("public"),
            "left": near.machine("left", 2),
            "right": near.machine("right", 3),
            "remote": far.machine("remote", 2),
        }
        peers = [Peer(machine, name, service.url("demo"), folder) for name, machine in places.items()]
        began = time.monotonic()
        for peer in peers:
            peer.start()
            stack.callback(_end, peer)
        pool = stack.enter_context(ThreadPoolExecutor(len(peers)))
        live = stack.enter_context(Live(console=console, auto_refresh=False))
        took: float | None = None
        try:
            while True:
                views = list(pool.map(_view, peers))
                if took is None and all(len(pings) == len(peers) - 1 and _all(pings) for _, pings in views):
                    took = time.monotonic() - began
                screen = _screen(service, peers, views, took, time.monotonic() - began)
                live.update(screen, refresh=True)
                if options.once and took is not None:
                    if options.svg is not None:
                        _save(screen, options.svg)
                    return
                if options.once and time.monotonic() - began > _PATIENCE:
                    sys.exit("not all machines have pinged each other")
                time.sleep(_PACE)
        except KeyboardInterrupt:
            console.print("taking it down …")


_View = tuple[dict[str, Any], list[dict[str, Any]]]


def _view(peer: Peer) -> _View:
    """What a machine says of its peers, and who of them answers."""
    answer = peer.ask("ping-all", "--json")
    return peer.status(), json.loads(answer.stdout) if answer.stdout else []


def _all(pings: list[dict[str, Any]]) -> bool:
    return all(ping["answered"] for ping in pings)


def _screen(service: Service, peers: list[Peer], views: list[_View], took: float | None, since: float) -> Group:
    table = Table("machine", "virtual IP", "sees", "by", "at", "ping", title_justify="left")
    table.title = f"{service.url('demo')}   (Ctrl-C ends it)"
    for peer, (status, pings) in zip(peers, views, strict=True):
        answers = {ping["public_key"]: ping for ping in pings}
        first = [peer.name, status["virtual_ip"] or "…"]
        for other in status["peers"]:
            seconds = answers.get(other["public_key"], {}).get("seconds")
            ping = Text("silent", "yellow") if seconds is None else Text(f"{seconds * 1000:.1f} ms", "green")
            table.add_row(*first, other["display_name"], other["reason"] or other["path"], other["endpoint"], ping)
            first = ["", ""]
        table.add_section()
    line = f"{since:.0f} s" if took is None else f"all have pinged each other {took:.1f} s after they were started"
    return Group(table, Text(line, "bold"))


def _save(screen: Group, path: Path) -> None:
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=84, file=nowhere, force_terminal=True)
        console.print(screen)
        svg = console.export_svg(title="make network")
    # Without the fonts that it would load from elsewhere.
    path.write_text(re.sub(r"<!--.*?-->|@font-face \{.*?\}", "", svg, flags=re.DOTALL))


def _end(peer: Peer) -> None:
    try:
        peer.end()
    except subprocess.TimeoutExpired:
        peer.kill()
    peer.clean()


if __name__ == "__main__":
    main()
