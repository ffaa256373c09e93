import asyncio
from collections.abc import Callable

from wg_orchestrator.agent.errors import EnvironmentFault
from wg_orchestrator.agent.host_names import host_names
from wg_orchestrator.agent.hosts_file import HostsFile
from wg_orchestrator.agent.wishes import sound_peers
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.domain.peer import PublicKey

_PACE = 0.5
"""Seconds from a change to the file that has it: a crowd of newcomers is written once."""


class Naming:
    """Keeps the names of a tenant's peers in the hosts file."""

    def __init__(
        self, picture: Picture, own: PublicKey, tenant: str, hosts: HostsFile, say: Callable[[str], None]
    ) -> None:
        """`own` is this machine's key. `say` gets a line if the file can't be written."""
        self._picture = picture
        self._own = own
        self._tenant = tenant
        self._hosts = hosts
        self._say = say
        self._due: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """The picture is another one."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_PACE, self._write)

    def clear(self) -> None:
        """Take all names out. Raises EnvironmentFault."""
        if self._due is not None:
            self._due.cancel()
        self._hosts.write(())

    def _write(self) -> None:
        self._due = None
        if self._picture.revision is None:
            return
        try:
            peers = sound_peers(self._picture, self._own)
            self._hosts.write(host_names(peers, self._tenant, self._hosts.known()))
        except EnvironmentFault as fault:
            self._say(str(fault))
