import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wg_orchestrator.agent.errors import EnvironmentFault


@asynccontextmanager
async def holding(interface: str) -> AsyncIterator[None]:
    """Have the interface of that name to oneself for as long as the block: at most one process of this machine has it,
    or of this network namespace, whatever its state directory.

    Raises EnvironmentFault.
    """
    # An abstract socket (unix(7)) belongs to a network namespace, as an interface does, and goes with its process.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        try:
            held.bind(f"\0wg-orchestrator/{interface}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise EnvironmentFault(f"an agent runs for {interface} already") from error
        yield
