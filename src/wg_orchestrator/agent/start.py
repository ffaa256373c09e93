"""The agent with its adapters for Linux."""

import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from wg_orchestrator.agent.agent import Agent
from wg_orchestrator.agent.control import answering
from wg_orchestrator.agent.errors import EnvironmentFault
from wg_orchestrator.agent.hosts_file import HostsFile
from wg_orchestrator.agent.keeper import Keeper
from wg_orchestrator.agent.naming import Naming
from wg_orchestrator.agent.setup import Setup
from wg_orchestrator.agent.state_dir import StateDir
from wg_orchestrator.client.member import Member
from wg_orchestrator.client.tokens import TokenSource, no_token
from wg_orchestrator.domain.peer import PublicKey


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent belongs: its tenant, and its name there."""

    url: str
    display_name: str
    state_dir: Path
    needs_userspace: bool = False
    names_peers: bool = False
    """Whether peers get names in the hosts file."""
    token: TokenSource = no_token
    """What lets the machine in."""


async def run(place: Place, setup: Setup, say: Callable[[str], None]) -> None:
    """Be a peer of the tenant, until SIGINT, SIGTERM, or the command `down`.

    Raises EnvironmentFault or JoinRefused.
    """
    if sys.platform != "linux":
        raise EnvironmentFault("the agent runs on Linux only")
    from wg_orchestrator.agent.linux.holding import holding
    from wg_orchestrator.agent.linux.interface import LinuxInterface
    from wg_orchestrator.agent.linux.links import links
    from wg_orchestrator.agent.linux.machine import LinuxMachine

    state = StateDir(place.state_dir, setup.interface)
    state.open()
    keys = state.key_pair()
    session, wish = state.session(place.url)
    member = Member(place.url, place.display_name, keys.public, session=session, virtual_ip=wish, token=place.token)
    picture = member.picture
    own = PublicKey.parse(keys.public)
    naming = Naming(picture, own, setup.tenant, HostsFile(setup.interface), say) if place.names_peers else None
    async with holding(setup.interface), links() as kernel:
        interface = LinuxInterface(
            setup.interface, _without_password(place.url), kernel, needs_userspace=place.needs_userspace
        )
        keeper = Keeper(setup, (keys.private, own), member, interface, say)
        agent = Agent(
            setup,
            member,
            LinuxMachine(setup.interface, kernel),
            keeper,
            say,
            naming=naming,
            remember=lambda: state.keep_session(place.url, picture.session, picture.virtual_ip),
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, agent.stop)

        async def answer(command: str) -> object:
            match command:
                case "status":
                    return (await agent.status()).as_json()
                case "down":
                    agent.stop()
                    return True
                case _:
                    raise KeyError(command)

        async with answering(state.socket, answer):
            await agent.run()
    if not setup.keeps:
        state.forget_session()


def _without_password(url: str) -> str:
    """The URL as everybody on the machine may read it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


async def remove_left(interface: str) -> bool:
    """Remove the interface that an agent has left behind, if there is one. Raises EnvironmentFault."""
    from wg_orchestrator.agent.linux.holding import holding
    from wg_orchestrator.agent.linux.interface import MARK
    from wg_orchestrator.agent.linux.links import links

    async with holding(interface), links() as kernel:
        link = await kernel.find(interface)
        if link is None or not link.alias.startswith(f"{MARK} "):
            return False
        await kernel.remove(link.index)
    HostsFile(interface).write(())
    return True
