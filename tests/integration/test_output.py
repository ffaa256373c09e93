"""`wg-orchestrator join` when it can't write its output."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.keys import a_key_text
from tests.integration.process import serving
from tests.integration.service import PATIENCE, Client, Endpoint


def joining(service: Endpoint, stdout: Any, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-u", "-m", "wg_orchestrator", "join", service.url(), "--public-key", a_key_text(2)]
    return subprocess.Popen(
        [*command, *options], stdout=stdout, stderr=subprocess.PIPE, env={**os.environ, **environment}
    )


def ended(folder: Path, stdout: Any, *options: str) -> tuple[int, str]:
    """The exit status of a client, and its standard error."""
    with serving(folder) as service:
        process = joining(service, stdout, *options)
        _, said = process.communicate(timeout=PATIENCE)
        return process.returncode, said.decode()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_client_whose_output_nobody_reads_ends_without_a_message(options: tuple[str, ...], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert ended(tmp_path, writer, *options) == (1, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_client_whose_disk_is_full_ends_with_one_line(options: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        assert ended(tmp_path, full, *options) == (1, "wg-orchestrator: can't write: No space left on device\n")


async def test_a_name_that_the_terminal_can_not_show_is_shown_in_escapes(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        process = joining(service, subprocess.PIPE, PYTHONIOENCODING="ascii")
        assert process.stdout is not None
        assert process.stdout.readline() == b"you are 100.64.0.1; 0 others\n"
        await Client.join(service, 3, display_name="🦊 Büro")
        assert process.stdout.readline() == b"+ 100.64.0.2  \\U0001f98a B\\xfcro\n"
        process.kill()
        process.communicate()
