"""Protocol v2 with real sockets: sessions that are resumed, updates, and wishes for addresses."""

import asyncio
import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from websockets.frames import Opcode
from websockets.typing import Subprotocol

from harness.keys import a_key_text
from tests.integration.service import Client, RawClient, Service, join_message, running
from tests.integration.v2_client import V2, V2Client, join_v2

GRACE = 30


async def until_away(service: Service, peers: int) -> None:
    while service.metric("sessions_away") != peers:
        await asyncio.sleep(0)


async def test_a_welcome_has_the_protocols_fields_in_their_order() -> None:
    async with running(grace=GRACE) as service:
        first = await Client.join(service, 1)
        peer = await V2Client.join(service, 2, endpoints=["10.0.0.7:51820", "8.8.8.8:1", "[fd00:1::7]:51820"])
        later = await V2Client.join(service, 3)
        assert list(peer.place) == ["type", "revision", "session", "grace", "virtual_ip", "network", "peers"]
        assert (peer.place["grace"], peer.place["network"]) == (GRACE, "100.64.0.0/10")
        assert 22 <= len(peer.session) <= 64
        assert later.place["peers"] == [
            {
                "display_name": "peer-1", "public_key": a_key_text(1), "virtual_ip": first.virtual_ip,
                "endpoints": [], "proven": False,
            },
            {
                "display_name": "peer-2", "public_key": a_key_text(2), "virtual_ip": peer.virtual_ip,
                "endpoints": ["10.0.0.7:51820", "[fd00:1::7]:51820"], "proven": False,
            },
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([], None), (["mqtt"], None), (["wg-orchestrator.v1"], "wg-orchestrator.v1"),
        (["wg-orchestrator.v1", "wg-orchestrator.v2"], "wg-orchestrator.v2"), (["x", "wg-orchestrator.v2"], V2),
    ],
)  # fmt: skip
async def test_the_highest_version_that_a_client_offers_is_spoken(offered: list[str], selected: str | None) -> None:
    async with running(grace=GRACE) as service:
        websocket = await service.connect(subprotocols=[Subprotocol(name) for name in offered] or None)
        assert websocket.subprotocol == selected
        await websocket.send(json.dumps(join_v2(1)))
        assert ("type" in json.loads(await websocket.recv())) == (selected == V2)


async def test_a_peer_that_resumes_is_told_what_it_missed_and_the_others_are_told_nothing() -> None:
    async with running(grace=GRACE) as service:
        watcher, old = await V2Client.join(service, 1), await Client.join(service, 2)
        peer = await V2Client.join(service, 3)
        await watcher.hear()
        await watcher.hear()
        await old.hear()
        peer.reset()
        await until_away(service, 1)
        newcomer = await V2Client.join(service, 4)
        await newcomer.websocket.close()
        assert [(await watcher.hear())["type"] for _ in range(2)] == ["joined", "left"]
        again = await peer.resume(service)
        assert again.started_with == "resumed"
        assert (again.session, again.virtual_ip) == (peer.session, peer.virtual_ip)
        assert again.place["revision"] == peer.revision
        assert [(await again.hear())["type"] for _ in range(2)] == ["joined", "left"]
        assert again.revision == watcher.revision
        await watcher.told_nothing_before(again, "back")
        assert again.peers.keys() == {a_key_text(1), a_key_text(2)}
        assert [list(await old.hear())[-1] for _ in range(2)] == ["virtual_ip", "removed_peer"]
        assert (service.metric("resumes_total", outcome="resumed"), service.metric("sessions_away")) == (1, 0)
        while service.metric("sessions_connected") != 2:  # The watcher and the peer; not the v1 peer.
            await asyncio.sleep(0)


async def test_a_peer_that_missed_more_than_is_kept_gets_a_welcome_in_the_same_session() -> None:
    async with running(grace=GRACE, history_size=2) as service:
        peer = await V2Client.join(service, 1)
        peer.reset()
        await until_away(service, 1)
        others = [await V2Client.join(service, number) for number in (2, 3, 4)]
        again = await peer.resume(service)
        assert again.started_with == "welcome"
        assert again.session == peer.session
        assert again.peers.keys() == {a_key_text(number) for number in (2, 3, 4)}
        assert again.revision >= others[-1].revision
        assert service.metric("resumes_total", outcome="welcomed anew") == 1


@pytest.mark.parametrize("code", [1000, None])
async def test_a_peer_that_closes_its_connection_has_left_at_once(code: int | None) -> None:
    async with running(grace=GRACE) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        if code is None:
            peer.websocket.transport.write(b"\x88\x80\x00\x00\x00\x00")  # A close frame without a payload.
        else:
            await peer.websocket.close(code)
        assert (await watcher.hear())["type"] == "left"


async def test_a_peer_that_does_not_come_back_has_left_when_its_grace_is_over() -> None:
    async with running(grace=1) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        peer.reset()
        await until_away(service, 1)
        left = await watcher.hear()
        assert (left["type"], left["public_key"]) == ("left", a_key_text(2))
        again = await peer.resume(service)
        assert again.started_with == "welcome"
        assert again.session != peer.session
        assert service.metric("resumes_total", outcome="new") == 1
        assert service.metric("leaves_total", reason="grace over") == 1


async def test_a_peer_that_resumes_supersedes_its_connection_if_that_is_open() -> None:
    async with running(grace=GRACE) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        again = await peer.resume(service)
        assert await peer.closed() == (4505, "superseded")
        third = await again.resume(service)
        assert await again.closed() == (4505, "superseded")
        await watcher.told_nothing_before(third, "third")
        assert service.metric("peers") == 2


async def test_of_many_connections_that_resume_at_once_one_remains() -> None:
    async with running(grace=GRACE) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        rivals = await asyncio.gather(*(peer.resume(service) for _ in range(8)))
        closings = [asyncio.create_task(rival.closed()) for rival in rivals]
        done: set[asyncio.Task[tuple[int, str]]] = set()
        while len(done) < 7:
            done |= (await asyncio.wait(set(closings) - done, return_when=asyncio.FIRST_COMPLETED))[0]
        assert {task.result() for task in done} == {(4505, "superseded")}
        for task in set(closings) - done:
            task.cancel()
        assert service.metric("peers") == 2


@pytest.mark.parametrize(
    "resume",
    [
        {"session": "guessed", "revision": 1},
        {"session": "", "revision": 0},
        {"session": "\ud83e\udd8a" * 8, "revision": 1},
    ],
)
async def test_a_join_with_an_invalid_session_is_a_new_join(resume: dict[str, Any]) -> None:
    async with running(grace=GRACE) as service:
        peer = await V2Client.join(service, 1)
        websocket = await service.connect(subprotocols=[V2])
        await websocket.send(json.dumps(join_v2(1, resume=resume)))
        await websocket.wait_closed()
        assert (websocket.close_code, websocket.close_reason) == (4004, "key in use")
        stranger = await V2Client.join(service, 2, resume=resume)
        assert stranger.started_with == "welcome"
        assert (await peer.hear())["type"] == "joined"


async def test_a_session_is_not_resumed_by_another_key_or_in_another_tenant() -> None:
    async with running(grace=GRACE) as service:
        peer = await V2Client.join(service, 1)
        thief = await V2Client.join(service, 2, resume={"session": peer.session, "revision": peer.revision})
        assert thief.virtual_ip != peer.virtual_ip
        assert thief.session != peer.session
        elsewhere = await peer.resume(service, tenant="globex")
        assert elsewhere.started_with == "welcome"
        assert (await peer.hear())["peer"]["public_key"] == a_key_text(2)


async def test_a_peer_with_a_revision_from_the_future_gets_a_welcome_in_the_same_session() -> None:
    async with running(grace=GRACE) as service:
        peer = await V2Client.join(service, 1)
        again = await peer.resume(service, resume={"session": peer.session, "revision": 2**53 - 1})
        assert (again.started_with, again.session) == ("welcome", peer.session)


async def test_of_updates_within_an_interval_the_first_and_the_last_are_told() -> None:
    async with running(grace=GRACE, update_interval=0.3) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        old = await Client.join(service, 3)
        await watcher.hear()
        await watcher.hear()
        for number in range(5):
            await peer.say({"type": "update", "display_name": f"name-{number}"})
        assert [(await watcher.hear())["peer"]["display_name"] for _ in range(2)] == ["name-0", "name-4"]
        await peer.say({"type": "update", "endpoints": ["192.168.1.2:7"]})
        updated = await watcher.hear()
        assert (updated["peer"]["display_name"], updated["peer"]["endpoints"]) == ("name-4", ["192.168.1.2:7"])
        newcomer = await Client.join(service, 4)
        assert newcomer.roster.peers[peer.virtual_ip]["display_name"] == "name-4"
        assert (await old.hear())["public_key"] == a_key_text(4)
        assert [(await peer.hear())["peer"]["public_key"] for _ in range(2)] == [a_key_text(3), a_key_text(4)]
        assert service.metric("updates_coalesced_total") == 3


async def test_an_update_that_changes_nothing_is_not_told() -> None:
    async with running(grace=GRACE, update_interval=0.01) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        await peer.say({"type": "update"})
        await peer.say({"type": "update", "display_name": "peer-2", "endpoints": ["1.1.1.1:1"]})
        await peer.say({"type": "applied", "revision": 5})
        await peer.say({"type": "applied", "revision": 3})
        await watcher.told_nothing_before(peer, "new")
        assert service.metric("updates_dropped_total") == 2


async def test_a_peer_that_resumes_still_has_to_wait_for_its_next_update() -> None:
    async with running(grace=GRACE, update_interval=3600) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        await watcher.told_nothing_before(peer, "first")
        again = await peer.resume(service, display_name="second")
        await again.say({"type": "update", "display_name": "third"})
        await watcher.say({"type": "update", "display_name": "seen"})
        assert (await again.hear())["peer"]["display_name"] == "seen"
        late = await V2Client.join(service, 3)
        assert late.peers[a_key_text(2)]["display_name"] == "first"
        assert (await watcher.hear())["type"] == "joined"


async def test_a_new_name_in_a_join_that_resumes_is_an_update() -> None:
    async with running(grace=GRACE) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2, endpoints=["10.0.0.1:1"])
        await watcher.hear()
        await peer.resume(service, display_name="renamed")
        updated = await watcher.hear()
        assert (updated["type"], updated["peer"]["display_name"]) == ("updated", "renamed")
        assert updated["peer"]["endpoints"] == ["10.0.0.1:1"]


@pytest.mark.parametrize(
    ("message", "close"),
    [
        ("x", (4504, "malformed message")), ('{"type":"leave"}', (4504, "malformed message")),
        (json.dumps(join_v2(2)), (4504, "malformed message")),
        ('{"type":"update","display_name":null}', (4504, "malformed message")),
        ('{"type":"update","display_name":""}', (4502, "bad display name")),
        ('{"type":"applied","revision":-1}', (4504, "malformed message")), (b"\x00", (1003, "text only")),
    ],
)  # fmt: skip
async def test_a_peer_that_sends_a_bad_message_is_closed_and_may_come_back(
    message: str | bytes, close: tuple[int, str]
) -> None:
    async with running(grace=GRACE) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        await peer.websocket.send(message)
        assert await peer.closed() == close
        again = await peer.resume(service)
        assert again.started_with == "resumed"
        await watcher.told_nothing_before(again, "again")


async def test_a_peer_that_floods_updates_is_closed_and_most_of_them_are_not_told() -> None:
    async with running(grace=GRACE) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        for number in range(300):
            await peer.say({"type": "update", "display_name": f"name-{number}"})
        assert (await peer.closed())[0] == 1008
        assert (await watcher.hear())["peer"]["display_name"] == "name-0"
        assert service.metric("updates_coalesced_total") > 50


async def test_no_more_peers_are_away_at_a_time_than_may_be_connected() -> None:
    async with running(grace=86_400, max_connections=3) as service:
        watcher = await V2Client.join(service, 0)
        for number in range(1, 6):
            peer = await V2Client.join(service, number)
            assert (await watcher.hear())["type"] == "joined"
            peer.reset()
            await until_away(service, min(number, 3))
            if number > 3:
                left = await watcher.hear()
                assert (left["type"], left["public_key"]) == ("left", a_key_text(number - 3))


async def test_without_a_grace_there_are_no_sessions() -> None:
    async with running(grace=0) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        assert (peer.session, peer.place["grace"]) == ("", 0)
        peer.reset()
        assert (await watcher.hear())["type"] == "left"


async def test_at_a_stop_peers_are_closed_with_1012_and_nobody_is_told_that_a_v2_peer_left() -> None:
    async with running(grace=GRACE) as service:
        peers = [await V2Client.join(service, number) for number in range(5)]
        closings = [asyncio.create_task(peer.closed()) for peer in peers]
        await service.stop()
        assert {await closing for closing in closings} == {(1012, "service restart")}
        assert all("left" not in [message["type"] for message in peer.told] for peer in peers)


async def test_after_a_restart_wishes_are_granted_although_others_joined_before() -> None:
    async with running(grace=GRACE) as service:
        before = [await V2Client.join(service, number) for number in range(10)]
    async with running(grace=GRACE) as service:
        early = [await Client.join(service, 100 + number) for number in range(100)]
        back = [await peer.resume(service, virtual_ip=peer.virtual_ip) for peer in before]
        assert [peer.virtual_ip for peer in back] == [peer.virtual_ip for peer in before]
        network = ip_network("100.64.0.0/10")
        assert all(ip_address(client.virtual_ip) in network for client in early)


async def test_a_peer_whose_wish_can_not_be_granted_gets_another_address() -> None:
    async with running(grace=GRACE) as service:
        first = await V2Client.join(service, 1, virtual_ip="100.64.0.9")
        assert first.virtual_ip == "100.64.0.9"
        wishes = enumerate(("100.64.0.9", "10.0.0.1", "::1"), 2)
        others = [await V2Client.join(service, number, virtual_ip=wish) for number, wish in wishes]
        assert "100.64.0.9" not in [other.virtual_ip for other in others]


async def test_many_peers_that_are_cut_at_once_resume_and_nobody_is_told() -> None:
    async with running(grace=GRACE) as service:
        watcher = await V2Client.join(service, 0)
        crowd = [await V2Client.join(service, number) for number in range(1, 41)]
        for peer in [watcher, *crowd]:
            while len(peer.peers) < 40:
                await peer.hear()
        for peer in crowd:
            peer.reset()
        await until_away(service, 40)
        back = await asyncio.gather(*(peer.resume(service) for peer in crowd))
        assert {peer.started_with for peer in back} == {"resumed"}
        await watcher.told_nothing_before(back[0], "all are back")
        assert len({json.dumps(sorted(p.peers)) for p in back}) == 40


async def test_no_secret_of_a_session_is_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    async with running(grace=GRACE, log_level="debug") as service:
        peer = await V2Client.join(service, 1)
        peer.reset()
        await until_away(service, 1)
        again = await peer.resume(service)
        await V2Client.join(service, 2, resume={"session": again.session, "revision": 1})
    out, err = capfd.readouterr()
    assert peer.session not in out + err


async def recorded(version: str) -> list[tuple[int, bytes]]:
    """The frames that a v1 peer gets in a tenant where peers of this version come, change and go."""
    async with running(grace=0, update_interval=0.01) as service:
        before = await _peer(service, version, 1)
        watcher = await RawClient.open(service)
        watcher.send(Opcode.TEXT, join_message(2).encode())
        frames = [await watcher.read_frame()]
        for number in (3, 4):
            peer = await _peer(service, version, number)
            if isinstance(peer, V2Client):
                await peer.say({"type": "update", "display_name": f"other-{number}", "endpoints": ["10.0.0.7:1"]})
                while isinstance(before, V2Client) and (await before.hear())["type"] != "updated":
                    pass
            await peer.websocket.close()
        await before.websocket.close()
        return frames + [await watcher.read_frame() for _ in range(5)]


async def _peer(service: Service, version: str, number: int) -> Client | V2Client:
    return await (V2Client if version == "v2" else Client).join(service, number)


async def test_a_v1_peer_gets_the_same_bytes_whatever_the_others_speak() -> None:
    frames = await recorded("v1")
    assert frames == await recorded("v2")
    assert len(set(frames)) == len(frames)
