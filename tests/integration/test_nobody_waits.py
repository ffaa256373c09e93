import asyncio
import random

from websockets.frames import Opcode

from tests.integration.service import Client, RawClient, Service, join_message, running


async def test_joins_that_overlap_do_not_wait_for_each_other() -> None:
    """A service that held a lock while it waits for a client's first message would hang here for ever."""
    async with running() as service:
        silent = [await RawClient.open(service) for _ in range(5)]
        first = await Client.join(service, 1)
        second = await Client.join(service, 2)
        await first.until(lambda roster: second.virtual_ip in roster.peers)
        for number, client in enumerate(silent, 3):
            client.send(Opcode.TEXT, join_message(number).encode())
        await first.until(lambda roster: len(roster.peers) == 6)


async def _join_and_watch(service: Service, number: int, die: random.Random | None) -> Client:
    client = await Client.join(service, number)
    if die is not None and die.random() < 0.2:
        for _ in range(die.randrange(200)):
            await asyncio.sleep(0)
        client.reset()
    return client


async def _quiet(service: Service, clients: list[Client]) -> None:
    """Wait until every client has heard everything: until it has heard a last peer join and leave."""
    last = await Client.join(service, 10_000)
    await asyncio.gather(*(client.until(lambda roster: last.virtual_ip in roster.peers) for client in clients))
    await last.leave()
    await asyncio.gather(*(client.until(lambda roster: last.virtual_ip not in roster.peers) for client in clients))


async def test_200_clients_join_at_the_same_moment() -> None:
    async with running() as service:
        clients = await asyncio.gather(*(_join_and_watch(service, number, None) for number in range(200)))
        await _quiet(service, clients)
        _assert_all_pictures_are_the_services(service, clients, 200)


async def test_200_clients_join_while_some_of_them_die() -> None:
    die = random.Random(7)
    async with running() as service:
        clients = await asyncio.gather(*(_join_and_watch(service, number, die) for number in range(200)))
        alive = [client for client in clients if not client.websocket.transport.is_closing()]
        assert 130 < len(alive) < 190
        await asyncio.gather(*(client.until(lambda roster: len(roster.peers) == len(alive) - 1) for client in alive))
        await _quiet(service, alive)
        _assert_all_pictures_are_the_services(service, alive, len(alive))


def _assert_all_pictures_are_the_services(service: Service, clients: list[Client], expected: int) -> None:
    truth = service.roster()
    assert len(truth) == len({client.virtual_ip for client in clients}) == expected
    for client in clients:
        assert client.picture() | {client.virtual_ip: truth[client.virtual_ip]} == truth


async def test_all_peers_see_one_order() -> None:
    async with running() as service:
        watchers = [await Client.join(service, number) for number in range(3)]
        peers = await asyncio.gather(*(Client.join(service, number) for number in range(10, 60)))
        await asyncio.gather(*(peer.leave() for peer in peers))
        for watcher in watchers:
            await watcher.until(lambda roster, watcher=watcher: len(roster.peers) == 2 and len(watcher.messages) > 100)  # type: ignore[misc]
        common = [watcher.messages[-100:] for watcher in watchers]
        assert common[0] == common[1] == common[2]
