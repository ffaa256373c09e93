"""The client library of protocol v2, with the real service and with servers that lie."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.frames import Frame, Opcode

from harness.keys import a_key_text
from tests.integration.service import PATIENCE, Client, Service, running
from tests.integration.test_hostile_server import (
    Script,
    answers,
    closing,
    ends_with_one_line,
    entry,
    join,
    listening,
    open_websocket,
    text,
)
from wg_orchestrator.client import BadMessage, Endpoint, Event, JoinRefused, Limits, Lost, Member
from wg_orchestrator.wire.v2.notices import Joined, Left, Resumed, Updated, Welcome

GRACE = 30
EXAMPLE = Path(__file__).parents[2] / "examples" / "member.py"


class Watched:
    """A member, and its events one at a time."""

    def __init__(self, service: Service, number: int, **options: Any) -> None:
        self.member = Member(service.url(), f"peer-{number}", a_key_text(number), **options)
        self.events = self.member.follow()

    async def next(self) -> Event:
        with anyio.fail_after(PATIENCE):
            return await anext(self.events)

    def cut(self) -> None:
        assert self.member._websocket is not None
        self.member._websocket.transport.abort()


@asynccontextmanager
async def members(service: Service, *numbers: int, **options: Any) -> AsyncIterator[list[Watched]]:
    """Members that have their welcome, and have heard of those after them."""
    watched = [Watched(service, number, **options) for number in numbers]
    try:
        for count, one in enumerate(watched):
            assert isinstance(await one.next(), Welcome)
            for earlier in watched[:count]:
                assert isinstance(await earlier.next(), Joined)
        yield watched
    finally:
        for one in watched:
            await one.events.aclose()


async def test_a_member_comes_back_by_itself_and_nobody_hears_of_it() -> None:
    async with running(grace=GRACE) as service, members(service, 1, 2) as (one, two):
        before = two.member.picture
        address, session = before.virtual_ip, before.session
        two.cut()
        lost = await two.next()
        assert isinstance(lost, Lost)
        assert 0 <= lost.retry_in <= 1
        v1 = await Client.join(service, 3)
        assert isinstance(await one.next(), Joined)
        assert isinstance(await two.next(), Resumed)
        assert isinstance(await two.next(), Joined)
        assert (before.virtual_ip, before.session) == (address, session)
        assert {str(key) for key in before.peers} == {a_key_text(1), a_key_text(3)}
        await v1.leave()
        assert isinstance(await one.next(), Left)
        assert isinstance(await two.next(), Left)
        assert one.member.picture.revision == before.revision


async def test_what_a_member_says_of_itself_is_told_at_once_or_when_it_is_back() -> None:
    async with running(grace=GRACE, update_interval=0.01) as service, members(service, 1, 2) as (one, two):
        await two.member.update(endpoints=[Endpoint.parse("10.0.0.7:51820")])
        updated = await one.next()
        assert isinstance(updated, Updated)
        assert list(map(str, updated.peer.endpoints)) == ["10.0.0.7:51820"]
        await two.member.applied(7)
        two.cut()
        assert isinstance(await two.next(), Lost)
        await two.member.update("two")
        assert isinstance(await two.next(), Resumed)
        updated = await one.next()
        assert isinstance(updated, Updated)
        assert updated.peer.display_name == "two"


async def test_who_leaves_is_gone_at_once_and_its_loop_ends() -> None:
    async with running(grace=GRACE) as service, members(service, 1, 2) as (one, two):
        await two.member.leave()
        assert isinstance(await one.next(), Left)
        with pytest.raises(StopAsyncIteration):
            await two.next()
        await one.events.aclose()
        assert service.roster() == {}


async def test_who_was_superseded_does_not_come_back() -> None:
    async with running(grace=GRACE) as service, members(service, 1) as (one,):
        picture = one.member.picture
        again = Member(service.url(), "peer-1", a_key_text(1))
        again.picture.apply(Welcome(picture.revision or 0, picture.session, 60, *_place(picture), ()))
        events = again.follow()
        assert isinstance(await anext(events), Resumed)
        with pytest.raises(JoinRefused, match="superseded"):
            await one.next()
        await events.aclose()


def _place(picture: Any) -> tuple[Any, Any]:
    return picture.virtual_ip, picture.network


async def test_a_service_that_is_away_is_tried_again_and_the_address_is_asked_for() -> None:
    async with running(grace=GRACE) as service, members(service, 1, virtual_ip="100.64.0.77") as (one,):
        assert str(one.member.picture.virtual_ip) == "100.64.0.77"
        await service.stop()
        for _ in range(2):
            assert isinstance(await one.next(), Lost)
        async with running(grace=GRACE, port=service.port):
            while isinstance(event := await one.next(), Lost):
                pass
            assert isinstance(event, Welcome)
            assert str(event.virtual_ip) == "100.64.0.77"


async def test_a_service_that_speaks_v1_alone_is_refused() -> None:
    async with listening(answers(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")) as url:
        with pytest.raises(JoinRefused, match="404"):
            await anext(Member(url, "one", a_key_text(1)).follow())


@pytest.mark.parametrize(("status", "is_final"), [(404, False), (302, False), (426, False), (400, True), (403, True)])
async def test_one_that_was_in_takes_only_the_services_own_refusals_as_final(status: int, is_final: bool) -> None:
    # While a service is away, a proxy may say anything in its place.
    async with listening(answers(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())) as url:
        events = Member(url, "one", a_key_text(1), session="earlier").follow()
        if is_final:
            with pytest.raises(JoinRefused, match=str(status)):
                await anext(events)
        else:
            lost = await anext(events)
            assert isinstance(lost, Lost)
            assert str(status) in lost.cause
        await events.aclose()


async def test_one_that_was_in_waits_for_a_service_that_speaks_its_version_again() -> None:
    async with listening(v2_script(selects=None)) as url:
        events = Member(url, "one", a_key_text(1), session="earlier").follow()
        lost = await anext(events)
        assert isinstance(lost, Lost)
        assert "does not speak" in lost.cause
        await events.aclose()


def v2_script(*messages: object, selects: str | None = "wg-orchestrator.v2") -> Script:
    """A script that opens the WebSocket with that subprotocol, and answers the join with these messages or frames."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await open_websocket(reader, writer, selects)
        await reader.readexactly(64)  # Of the join message.
        for message in messages:
            writer.write((message if isinstance(message, Frame) else text(message)).serialize(mask=False))
        await reader.read()

    return script


def v2_entry(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {**entry(number), "endpoints": [], "proven": False, **changes}


SECRET = "0123456789abcdef0123456789abcdef"


def v2_welcome(*peers: object, **changes: Any) -> dict[str, Any]:
    place = {"revision": 5, "session": SECRET, "grace": 60, "virtual_ip": "100.64.0.9", "network": "100.64.0.0/10"}
    return {"type": "welcome", **place, "peers": list(peers), **changes}


LIES: dict[str, tuple[object, ...]] = {
    "no JSON": ("{",),
    "a notice first": ({"type": "joined", "revision": 6, "peer": v2_entry()},),
    "resumed, and nothing was to be resumed": ({**v2_welcome(), "type": "resumed"},),
    "a revision that is none": (v2_welcome(revision=2**53),),
    "a session that is endless": (v2_welcome(session="x" * 65),),
    "a network that is none": (v2_welcome(network="100.64.0.1/10"),),
    "a peer with our address": (v2_welcome(v2_entry(virtual_ip="100.64.0.9")),),
    "an endpoint that is a name": (v2_welcome(v2_entry(endpoints=["example.com:1"])),),
    "an endpoint with a scope": (v2_welcome(v2_entry(endpoints=["[fe80::1%eth0]:1"])),),
    "proven by a text": (v2_welcome(v2_entry(proven="yes")),),
    "a revision that goes back": (v2_welcome(), {"type": "joined", "revision": 5, "peer": v2_entry()}),
    "an update of nobody": (v2_welcome(), {"type": "updated", "revision": 6, "peer": v2_entry()}),
    "a leave of nobody": (
        v2_welcome(),
        {"type": "left", "revision": 6, "public_key": a_key_text(1), "virtual_ip": "100.64.0.1"},
    ),
    "a binary message": (Frame(Opcode.BINARY, b"x"),),
}


async def told_nothing_secret(events: AsyncIterator[Event]) -> None:
    async for event in events:
        assert SECRET not in repr(event)


@pytest.mark.parametrize("messages", LIES.values(), ids=LIES)
async def test_a_service_that_lies_is_left_and_its_secret_is_in_no_error(messages: tuple[object, ...]) -> None:
    async with listening(v2_script(*messages)) as url:
        events = Member(url, "one", a_key_text(7), limits=Limits(welcome_timeout=PATIENCE)).follow()
        with anyio.fail_after(PATIENCE), pytest.raises(BadMessage) as refusal:
            await told_nothing_secret(events)
        assert SECRET not in str(refusal.value)


async def test_a_type_that_is_not_known_is_passed_over() -> None:
    async with listening(v2_script({"type": "weather"}, v2_welcome(v2_entry()), {"type": "weather"})) as url:
        events = Member(url, "one", a_key_text(7)).follow()
        assert isinstance(await anext(events), Welcome)
        await events.aclose()


@pytest.mark.parametrize("selects", [None, "wg-orchestrator.v1"])
async def test_a_service_that_does_not_select_v2_is_not_spoken_with(selects: str | None) -> None:
    async with listening(v2_script(v2_welcome(), selects=selects)) as url:
        with pytest.raises(JoinRefused, match="does not speak"):
            await anext(Member(url, "one", a_key_text(7)).follow())


async def test_no_welcome_in_time_is_tried_again() -> None:
    async with listening(v2_script()) as url:
        events = Member(url, "one", a_key_text(7), limits=Limits(welcome_timeout=0.05)).follow()
        lost = await anext(events)
        assert isinstance(lost, Lost)
        assert lost.cause.startswith("no welcome")
        await events.aclose()


async def test_a_service_that_asks_for_patience_gets_it() -> None:
    busy = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    async with listening(answers(busy)) as url:
        events = Member(url, "one", a_key_text(7)).follow()
        lost = await anext(events)
        assert isinstance(lost, Lost)
        assert 7 <= lost.retry_in <= 8
        await events.aclose()


async def test_the_example_shows_who_is_there() -> None:
    async with running(grace=GRACE) as service, members(service, 1) as (one,):
        command = (sys.executable, str(EXAMPLE), service.url(), "laptop", a_key_text(2))
        example = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            assert example.stdout is not None
            with anyio.fail_after(PATIENCE):
                assert (await example.stdout.readline()).split() == [b"Welcome", b"2", b"peer-1"]
            assert isinstance(await one.next(), Joined)
        finally:
            example.kill()
            await example.wait()


async def test_the_command_shows_protocol_v2_as_lines_and_as_json_without_the_secret() -> None:
    notices = [
        v2_welcome(v2_entry()),
        {"type": "updated", "revision": 6, "peer": v2_entry(endpoints=["10.0.0.7:51820"])},
        {"type": "left", "revision": 7, "public_key": a_key_text(1), "virtual_ip": "100.64.0.1"},
        closing(4505, "superseded"),
    ]
    shown = await join(v2_script(*notices), "--protocol", "v2")
    assert [line.split()[0] for line in shown.output.splitlines()] == ["you", "~", "-", "wg-orchestrator:"]
    printed = await join(v2_script(*notices), "--protocol", "v2", "--json")
    lines = [json.loads(line) for line in printed.output.splitlines()[:-1]]
    assert [line["type"] for line in lines] == ["welcome", "updated", "left"]
    assert lines[0].keys() == v2_welcome().keys() - {"session"}
    for result in (shown, printed):
        assert ends_with_one_line(result)
        assert "superseded (4505)" in result.output
        assert SECRET not in result.output


async def test_a_later_process_goes_on_with_the_session_of_an_earlier_one() -> None:
    async with running(grace=GRACE) as service, members(service, 1, 2) as (watcher, first):
        before = first.member.picture
        first.member.vanish()
        with pytest.raises(StopAsyncIteration):
            await first.next()
        again = Watched(service, 2, session=before.session, virtual_ip=before.virtual_ip)
        welcome = await again.next()
        assert isinstance(welcome, Welcome), "it has no picture, so it gets the whole one"
        assert (welcome.session, welcome.virtual_ip) == (before.session, before.virtual_ip)
        assert [peer.public_key.text for peer in welcome.peers] == [a_key_text(1)]
        await again.member.update("renamed")
        told = await watcher.next()
        assert isinstance(told, Updated), "that it was away, or is back, was told"
        await again.events.aclose()


async def test_a_member_that_is_elsewhere_connects_anew_at_once_and_nobody_is_told() -> None:
    async with running(grace=GRACE) as service, members(service, 1, 2) as (watcher, mover):
        assert str(mover.member.local_address) == "127.0.0.1"
        mover.member.reconnect()
        assert isinstance(await mover.next(), Lost)
        assert mover.member.local_address is None
        assert isinstance(await mover.next(), Resumed)
        await mover.member.update("there")
        assert isinstance(await watcher.next(), Updated)


async def test_a_member_that_waits_to_try_again_does_so_at_once_when_the_machine_has_moved(
    unused_tcp_port: int,
) -> None:
    member = Member(f"ws://127.0.0.1:{unused_tcp_port}/tenants/acme", "one", a_key_text(1), proxy=None)
    lost: asyncio.Queue[Lost] = asyncio.Queue()

    async def follow() -> None:
        async for event in member.follow():
            assert isinstance(event, Lost)
            lost.put_nowait(event)

    following = asyncio.create_task(follow())
    with anyio.fail_after(PATIENCE):
        while (await lost.get()).retry_in < 4 * PATIENCE / 10:
            member.reconnect()  # Else these delays would add up to more than the patience.
        member.vanish()
        await following
