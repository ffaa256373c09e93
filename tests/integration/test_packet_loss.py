"""Clients' pictures under packet loss, in a network namespace whose loopback loses packets at random."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.service import PATIENCE

ROOT = Path(__file__).parents[2]
_TOOLS = ("unshare", "ip", "nft")
_RULES = """
table inet loss {{
    chain input {{
        type filter hook input priority 0;
        tcp flags & syn == 0 numgen random mod 100 < {percent} drop
    }}
}}
"""
# SYN segments are never dropped: a lost one costs the client seconds before the service knows of it.
# The kernel sends a lost segment again after 20 ms instead of 200. Otherwise five losses in a row could outlast the
# ping timeout, and the service would rightly give up the peer. Segments have Ethernet's size: loopback's of 64 KiB may
# be larger than a receive window that losses have shrunk. Then only a few KiB get through in a fraction of a second,
# and pings wait behind them.
_SET_UP = """
ip link set lo mtu 1500 up && ip route change local 127.0.0.1 dev lo table local rto_min 20ms && echo "$1" | nft -f -
"""
_STORM = {"PICTURES_LOSSY": "yes", "PICTURES_SEED": "1"}


def in_a_lossy_network(percent: int, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `command` in a network that loses `percent` of all TCP segments. The network ends with the command."""
    script = f'{{ {_SET_UP.strip()}; }} && shift && exec "$@"'
    return subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", _RULES.format(percent=percent), *command],
        cwd=ROOT,
        env={**os.environ, **_STORM, **environment},
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(("percent", "steps"), [(5, 30), (20, 10)])
def test_every_picture_is_the_truth_though_packets_are_lost(percent: int, steps: int) -> None:
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"needs {' and '.join(missing)}: apt-get install iproute2 nftables util-linux")
    trial = in_a_lossy_network(percent, "true")
    if trial.returncode != 0:
        pytest.skip(f"needs a network namespace of its own, with nft: {trial.stderr.strip()}")
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = in_a_lossy_network(
        percent, *pytest_command, "tests/integration/test_pictures.py", PICTURES_STEPS=str(steps)
    )
    assert result.returncode == 0, result.stdout + result.stderr
