import json

import anyio
import pytest

from harness.keys import a_key_text
from tests.integration.service import PATIENCE, Client, join_message, running


async def test_peers_see_each_other_come_and_go() -> None:
    async with running() as service:
        laptop = await Client.join(service, 1)
        phone = await Client.join(service, 2)
        assert phone.messages == [
            {
                "virtual_ip": "100.64.0.2",
                "peers": [{"display_name": "peer-1", "public_key": a_key_text(1), "virtual_ip": "100.64.0.1"}],
            }
        ]
        assert await laptop.hear() == {
            "display_name": "peer-2",
            "public_key": a_key_text(2),
            "virtual_ip": "100.64.0.2",
        }
        await phone.leave()
        assert await laptop.hear() == {"removed_peer": "100.64.0.2"}
        assert service.roster() == {"100.64.0.1": a_key_text(1)}


async def test_the_messages_keys_are_in_the_protocols_order() -> None:
    async with running() as service:
        first = await Client.join(service, 1)
        second = await Client.join(service, 2)
        await first.hear()
        assert [list(message) for message in first.messages] == [
            ["virtual_ip", "peers"],
            ["display_name", "public_key", "virtual_ip"],
        ]
        assert list(second.messages[0]["peers"][0]) == ["display_name", "public_key", "virtual_ip"]


async def test_nothing_of_one_tenant_reaches_another() -> None:
    async with running() as service:
        here = await Client.join(service, 1, "acme")
        there = await Client.join(service, 1, "globex")
        assert here.virtual_ip == there.virtual_ip == "100.64.0.1"
        stranger = await Client.join(service, 2, "globex")
        await stranger.leave()
        await there.until(lambda roster: len(there.messages) == 3)
        neighbour = await Client.join(service, 3, "acme")
        assert (await here.hear())["public_key"] == a_key_text(3)
        assert list(neighbour.roster.peers) == ["100.64.0.1"]


async def test_a_key_that_returns_gets_its_address_back() -> None:
    async with running() as service:
        watcher = await Client.join(service, 1)
        for number in (2, 3):
            await Client.join(service, number)
        peer = await Client.join(service, 4)
        await watcher.until(lambda roster: len(roster.peers) == 3)
        await peer.leave()
        await watcher.until(lambda roster: len(roster.peers) == 2)
        assert (await Client.join(service, 5)).virtual_ip == "100.64.0.5"
        assert (await Client.join(service, 4)).virtual_ip == "100.64.0.4"


async def test_a_display_name_arrives_as_it_was_given() -> None:
    async with running() as service:
        first = await Client.join(service, 1)
        await Client.join(service, 2, display_name='Büro "3" 🦊')
        assert (await first.hear())["display_name"] == 'Büro "3" 🦊'


async def test_text_after_the_join_is_ignored() -> None:
    async with running() as service:
        first = await Client.join(service, 1)
        await first.websocket.send("still here")
        await first.websocket.send(join_message(9))
        second = await Client.join(service, 2)
        assert (await first.hear())["virtual_ip"] == second.virtual_ip == "100.64.0.2"


async def test_frames_sent_with_the_join_are_read_after_it() -> None:
    async with running() as service:
        websocket = await service.connect()
        await websocket.send(join_message(1))
        await websocket.send("keep-alive")
        pong = await websocket.ping()
        assert json.loads(await websocket.recv())["virtual_ip"] == "100.64.0.1"
        with anyio.fail_after(PATIENCE):
            await pong
        await websocket.close()


async def test_a_message_in_fragments_is_one_message() -> None:
    async with running() as service:
        websocket = await service.connect()
        await websocket.send([join_message(1)[:10], join_message(1)[10:50], join_message(1)[50:]])
        assert json.loads(await websocket.recv())["virtual_ip"] == "100.64.0.1"
        await websocket.close()


@pytest.mark.parametrize(
    ("network", "address"), [("10.9.0.0/16", "10.9.0.1"), ("fd00:77::/64", "fd00:77::1"), ("192.0.2.7/32", "192.0.2.7")]
)
async def test_addresses_come_from_the_configured_network(network: str, address: str) -> None:
    async with running(network=network) as service:
        assert (await Client.join(service, 1)).virtual_ip == address


async def test_a_client_that_asks_for_subprotocols_gets_v1() -> None:
    async with running() as service:
        websocket = await service.connect(subprotocols=["x", "y"])
        assert websocket.subprotocol is None
        await websocket.send(join_message(1))
        assert json.loads(await websocket.recv()) == {"virtual_ip": "100.64.0.1", "peers": []}
        await websocket.close()


async def test_two_services_in_one_process_do_not_see_each_other() -> None:
    async with running() as one, running(network="10.0.0.0/8") as two:
        assert (await Client.join(one, 1)).virtual_ip == "100.64.0.1"
        assert (await Client.join(two, 1)).virtual_ip == "10.0.0.1"
        assert len(one.roster()) == len(two.roster()) == 1
