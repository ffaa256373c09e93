"""The agent between a service and a machine that are in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network

import anyio
import pytest

from tests.builders import a_key, a_name, a_peer
from tests.unit.agent.builders import NETWORK, endpoint, endpoints, here
from tests.unit.agent.fakes import FakeInterface, FakeLink, FakeMachine, Kernel
from tests.unit.agent.test_wishes import ADDRESS, GRACE, OWN, a_welcome
from wg_orchestrator.agent.agent import Agent
from wg_orchestrator.agent.errors import EnvironmentFault
from wg_orchestrator.agent.keeper import Keeper, Pace
from wg_orchestrator.agent.plan import SetTunnel
from wg_orchestrator.agent.setup import Setup
from wg_orchestrator.agent.tunnel import Observed
from wg_orchestrator.client import JoinRefused, Lost
from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.v2.notices import Joined, Left, Resumed, Updated

PACE = Pace(calm=0.05, least=0.001, applied=0.0)
PATIENCE = 10.0


class Machine:
    """One machine, which outlives its agents."""

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        keeps: bool = False,
        session: str = "",
        takes_public_network: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.link = FakeLink(session)
        self.host = FakeMachine()
        self.interface = FakeInterface(kernel or Kernel())
        self.said: list[str] = []
        self.remembered = 0
        self.disk_fault: EnvironmentFault | None = None
        setup = Setup("wgo0", "acme", keeps=keeps, takes_public_network=takes_public_network)
        keeper = Keeper(setup, ("private", OWN), self.link, self.interface, self.said.append, PACE, clock)
        self.agent = Agent(setup, self.link, self.host, keeper, self.said.append, remember=self._remember)

    def _remember(self) -> None:
        if self.disk_fault is not None:
            raise self.disk_fault
        self.remembered += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """The agent runs meanwhile, and is stopped at the end."""
        task = asyncio.create_task(self.agent.run())
        try:
            yield task
        finally:
            self.agent.stop()
            await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), PATIENCE)

    async def until_applied(self, revision: int) -> None:
        while await asyncio.wait_for(self.link.reported.get(), PATIENCE) != revision:
            pass

    async def until_said(self, text: str) -> None:
        with anyio.fail_after(PATIENCE):
            while not any(text in line for line in self.said):
                await asyncio.sleep(0.001)

    async def turn(self) -> None:
        """Let the agent do something."""
        await asyncio.sleep(0.001)

    def tunnels(self) -> list[Observed]:
        actual = self.interface.kernel.actual
        return [] if actual is None else list(actual.tunnels.values())

    def peers(self) -> set[str]:
        actual = self.interface.kernel.actual
        assert actual is not None
        return {str(network) for tunnel in actual.tunnels.values() for network in tunnel.allowed_ips}


async def test_the_interface_becomes_as_the_tenant_is_and_then_the_service_is_told() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1), revision=10))
        await machine.until_applied(10)
        actual = machine.interface.kernel.actual
        assert actual is not None
        assert (actual.addresses, actual.routes) == (frozenset({ADDRESS}), frozenset({NETWORK}))
        assert machine.peers() == {"100.64.0.1/32"}
        machine.link.says(Joined(11, a_peer(2)))
        await machine.until_applied(11)
        assert machine.peers() == {"100.64.0.1/32", "100.64.0.2/32"}
        machine.link.says(Left(12, a_key(1), a_peer(1).virtual_ip))
        await machine.until_applied(12)
        assert machine.peers() == {"100.64.0.2/32"}
        status = await machine.agent.status()
        assert (status.virtual_ip, status.revision, status.connected) == (str(ADDRESS), 12, True)
        assert [peer.virtual_ip for peer in status.peers] == ["100.64.0.2"]
        assert machine.link.paths == {a_peer(number).virtual_ip: PathKind.NONE for number in (1, 2)}
    assert (machine.link.ended, machine.interface.kernel.actual) == (["left"], None)


async def test_before_the_welcome_an_interface_that_is_there_stays_as_it_is() -> None:
    kernel = Kernel()
    before = Machine(kernel, keeps=True)
    async with before.running():
        before.link.says(a_welcome(a_peer(1), a_peer(2)))
        await before.until_applied(10)
    assert before.link.ended == ["vanished"]
    after = Machine(kernel, session="session")
    async with after.running():
        after.link.says(Lost("can't connect", 0.1))
        await after.until_said("can't connect")
        assert after.interface.applied == []
        after.link.says(a_welcome(a_peer(1), a_peer(2), revision=10))
        await after.until_applied(10)
        assert after.interface.applied == []


async def test_what_a_service_has_forgotten_stays_for_the_grace() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1), a_peer(2)))
        await machine.until_applied(10)
        machine.link.says(a_welcome(session="another", revision=3))
        await machine.until_applied(3)
        assert machine.peers() == {"100.64.0.1/32", "100.64.0.2/32"}
        assert machine.remembered == 2


async def test_a_peer_that_came_back_to_a_forgetful_service_and_left_is_gone() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1), a_peer(2)))
        await machine.until_applied(10)
        machine.link.says(a_welcome(session="another", revision=3))
        machine.link.says(Joined(4, a_peer(1)))
        machine.link.says(Left(5, a_key(1), a_peer(1).virtual_ip))
        await machine.until_applied(5)
        machine.link.says(Joined(6, a_peer(3)))
        await machine.until_applied(6)
        assert machine.peers() == {"100.64.0.2/32", "100.64.0.3/32"}


async def test_a_service_that_breaks_the_protocol_changes_nothing_and_is_asked_again() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        machine.link.says(BadMessage("no JSON"))
        await machine.until_said("breaks the protocol: no JSON")
        assert machine.peers() == {"100.64.0.1/32"}
        assert machine.link.picture.revision is None
        machine.link.says(a_welcome(a_peer(1), a_peer(2), revision=12))
        await machine.until_applied(12)
        assert machine.peers() == {"100.64.0.1/32", "100.64.0.2/32"}


@pytest.mark.parametrize(
    "fault", [EnvironmentFault("eth0 is in the way"), JoinRefused("revoked (4506)"), RuntimeError("a fault of ours")]
)
async def test_the_tunnels_are_taken_down_by_what_is_final_and_not_by_a_fault_of_the_agent(fault: Exception) -> None:
    machine = Machine()
    async with machine.running() as task:
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        machine.link.says(fault)
        with pytest.raises(type(fault)):
            await asyncio.wait_for(asyncio.shield(task), PATIENCE)
    assert (machine.interface.kernel.actual is not None) is isinstance(fault, RuntimeError)
    assert machine.link.ended[0] == ("vanished" if isinstance(fault, RuntimeError) else "left")


async def test_a_network_that_overlaps_is_refused_at_first_and_later_changes_nothing() -> None:
    machine = Machine()
    machine.host.overlaps = "eth0 is in 100.64.0.0/10"
    async with machine.running() as task:
        machine.link.says(a_welcome(a_peer(1)))
        with pytest.raises(EnvironmentFault, match="eth0 is in"):
            await asyncio.wait_for(asyncio.shield(task), PATIENCE)
    assert machine.interface.kernel.actual is None
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        machine.host.overlaps = "eth0 is in 100.64.0.0/10"
        machine.link.says(a_welcome(a_peer(2), revision=11))
        await machine.until_said("the interface stays as it was")
        assert machine.peers() == {"100.64.0.1/32"}


async def test_a_network_of_others_addresses_is_taken_only_by_leave() -> None:
    public = ip_network("8.8.8.0/24")
    welcome = replace(a_welcome(), network=public, virtual_ip=ip_address("8.8.8.100"))
    machine = Machine()
    async with machine.running() as task:
        machine.link.says(welcome)
        with pytest.raises(EnvironmentFault, match=r"8\.8\.8\.0/24 has public addresses"):
            await asyncio.wait_for(asyncio.shield(task), PATIENCE)
    assert machine.interface.kernel.actual is None
    machine = Machine(takes_public_network=True)
    async with machine.running():
        machine.link.says(welcome)
        await machine.until_applied(10)
        assert machine.interface.kernel.actual is not None
        assert machine.interface.kernel.actual.routes == {public}


async def test_a_network_with_the_services_own_address_is_refused() -> None:
    machine = Machine()
    machine.link.remote_address = ip_address("100.64.0.1")
    async with machine.running() as task:
        machine.link.says(a_welcome(a_peer(1)))
        with pytest.raises(EnvironmentFault, match=r"the service's own address 100\.64\.0\.1"):
            await asyncio.wait_for(asyncio.shield(task), PATIENCE)


async def test_an_overlap_that_came_while_no_agent_ran_leaves_the_interface_that_it_finds() -> None:
    kernel = Kernel()
    before = Machine(kernel, keeps=True)
    async with before.running():
        before.link.says(a_welcome(a_peer(1)))
        await before.until_applied(10)
    after = Machine(kernel, keeps=True)
    after.host.overlaps = "eth0 is in 100.64.0.0/10"
    async with after.running():
        after.link.says(a_welcome(a_peer(2), revision=11))
        await after.until_said("the interface stays as it was")
        assert after.peers() == {"100.64.0.1/32"}


async def test_a_session_that_can_not_be_kept_is_said_and_disturbs_no_tunnel() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        machine.disk_fault = EnvironmentFault("no space left")
        machine.link.says(a_welcome(a_peer(1), a_peer(2), session="another", revision=3))
        await machine.until_applied(3)
        assert machine.peers() == {"100.64.0.1/32", "100.64.0.2/32"}
        await machine.until_said("no space left")


async def test_an_interface_that_is_lost_is_made_anew_with_all_its_tunnels() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        machine.interface.kernel.actual = None
        machine.host.events.put_nowait(None)
        await machine.until_said("making it anew")
        machine.link.says(Joined(11, a_peer(2)))
        await machine.until_applied(11)
        await machine.until_said("making it anew")
        while machine.interface.kernel.actual is None or len(machine.peers()) < 2:
            await asyncio.sleep(0.001)


async def test_what_can_not_be_applied_is_said_and_tried_again() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        machine.interface.fault = EnvironmentFault("no rights")
        machine.link.says(Joined(11, a_peer(2)))
        await machine.until_said("no rights")
        assert machine.link.reported.empty()
        machine.interface.fault = None
        await machine.until_applied(11)
        assert machine.peers() == {"100.64.0.1/32", "100.64.0.2/32"}


async def test_a_machine_that_moves_says_so_and_connects_from_there() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        assert machine.link.announced == [endpoints("10.1.0.2:51820")]
        machine.host.is_at = here("10.1.0.77/24")
        machine.host.events.put_nowait(None)
        while len(machine.link.announced) < 2:
            await asyncio.sleep(0.001)
        assert (machine.link.announced[1], machine.link.reconnects) == (endpoints("10.1.0.77:51820"), 1)
        machine.host.is_at = here()
        machine.host.events.put_nowait(None)
        while machine.link.reconnects < 2:
            await asyncio.sleep(0.001)
        assert len(machine.link.announced) == 2, "it has announced that it is nowhere"


async def test_a_peers_endpoints_are_tried_when_it_names_them() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        at = replace(a_peer(1), endpoints=endpoints("10.1.0.9:51820"), display_name=a_name(9))
        machine.link.says(Updated(11, at))
        await machine.until_applied(11)
        while not any(isinstance(one, SetTunnel) and one.begins_anew for one in machine.interface.applied):
            await asyncio.sleep(0.001)
        actual = machine.interface.kernel.actual
        assert actual is not None
        assert actual.tunnels[a_key(1)].endpoint == endpoint("10.1.0.9:51820")


async def test_a_peer_that_resumes_goes_on() -> None:
    machine = Machine()
    async with machine.running():
        machine.link.says(a_welcome(a_peer(1)))
        await machine.until_applied(10)
        machine.link.says(Lost("connection lost", 0.1))
        await machine.until_said("connection lost")
        assert not (await machine.agent.status()).connected
        machine.link.says(Resumed(10, "session", GRACE, ADDRESS, NETWORK))
        await machine.until_said(f"back in as {ADDRESS}")
        await machine.until_applied(10)  # On this connection, the service was told nothing.
        assert (await machine.agent.status()).connected
        assert machine.remembered == 1
