"""WireGuard as a program: wireguard-go, or boringtun, where the kernel has none."""

import asyncio
import os
import shutil
import tempfile

import anyio

from wg_orchestrator.agent.errors import EnvironmentFault

PROGRAMS = ("wireguard-go", "boringtun-cli", "boringtun")
_START_TIME = 10.0


def program() -> str | None:
    """The path of the first of the programs that is installed."""
    return next((path for name in PROGRAMS if (path := shutil.which(name)) is not None), None)


async def start(interface: str) -> None:
    """Have a program run the interface. It goes on by itself, whatever becomes of the agent, and ends when the
    interface is removed.

    Raises EnvironmentFault.
    """
    path = program()
    if path is None:
        raise EnvironmentFault(
            "this kernel has no WireGuard, and none of these programs is installed: " + ", ".join(PROGRAMS)
        )
    with tempfile.TemporaryFile() as complaint:  # A pipe would be held open by what goes on in the background.
        process = await asyncio.create_subprocess_exec(
            path,
            interface,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=complaint,
            env={**os.environ, "LOG_LEVEL": "error"},
            start_new_session=True,
        )
        try:
            # It goes to the background once the interface is there.
            with anyio.fail_after(_START_TIME):
                status = await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise EnvironmentFault(f"{path} has not made {interface} in {_START_TIME:g} s") from None
        if status != 0:
            complaint.seek(0)
            raise EnvironmentFault(f"{path} can't make {interface}: {_said(complaint.read()) or status}")


def _said(output: bytes) -> str:
    """What it printed, without the frames of the notice that it begins with."""
    lines = output.decode(errors="replace").splitlines()
    return " ".join(line.strip() for line in lines if not any(char in line for char in "│─")).strip()
