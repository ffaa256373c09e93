"""`wg-orchestrator join` with a server that does not follow the protocol: it shows text and ends, and nothing else."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from threading import Thread
from typing import Any

import anyio
import click.testing
import pytest
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

from harness.keys import a_key_text
from tests.integration.service import PATIENCE
from wg_orchestrator.cli.main import main
from wg_orchestrator.client import Limits

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202e\u2028\u200b\x7f"


@asynccontextmanager
async def listening(script: Script) -> AsyncIterator[str]:
    """The URL of a server that answers each connection with `script`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, asyncio.CancelledError):
            await script(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield "ws://{}:{}/tenants/acme".format(*server.sockets[0].getsockname())
    finally:
        server.close()


def answers(response: bytes) -> Script:
    """A script that answers the request with these bytes, and ends."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    return script


async def open_websocket(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subprotocol: str | None = None
) -> None:
    selected = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    (key,) = [line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key: ")]
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n{selected}\r\n".encode()
    )


def sends(*frames: Frame) -> Script:
    """A script that opens the WebSocket, answers the join with these frames, and waits until the client ends it."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await open_websocket(reader, writer)
        await reader.readexactly(64)  # Of the join message.
        for frame in frames:
            writer.write(frame.serialize(mask=False))
        await reader.read()

    return script


def text(message: object) -> Frame:
    return Frame(Opcode.TEXT, (message if isinstance(message, str) else json.dumps(message)).encode())


def closing(code: int, reason: str) -> Frame:
    return Frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode())


def entry(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"display_name": "phone", "public_key": a_key_text(number), "virtual_ip": f"100.64.0.{number}", **changes}


def welcome(*peers: object, **changes: Any) -> dict[str, Any]:
    return {"virtual_ip": "100.64.0.9", "peers": list(peers), **changes}


async def join(script: Script, *options: str, limits: Limits | None = None) -> click.testing.Result:
    """How `wg-orchestrator join` ends with that service, and what it has written, with bounds of its own if any."""
    async with listening(script) as url:
        arguments = ["join", url, "--public-key", a_key_text(7), *options]
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        results = list[click.testing.Result]()

        def run() -> None:
            results.append(click.testing.CliRunner().invoke(main, arguments, obj=limits))
            loop.call_soon_threadsafe(ended.set)

        # Not a thread of the event loop: if that hung, the loop could not end.
        Thread(target=run, daemon=True).start()
        with anyio.fail_after(PATIENCE):
            await ended.wait()
        return results[0]


def shows_text_alone(result: click.testing.Result) -> bool:
    return all(char == "\n" or char.isprintable() for char in result.output)


def ends_with_one_line(result: click.testing.Result) -> bool:
    """Whether the command has ended by itself, and its last line says why."""
    return (
        isinstance(result.exception, SystemExit)
        and result.exit_code == 1
        and "Traceback" not in result.output
        and result.output.splitlines()[-1].startswith("wg-orchestrator: ")
    )


BAD_MESSAGES: dict[str, tuple[Frame, ...]] = {
    "no JSON": (text("{"),),
    "empty": (text(""),),
    "deep": (text("[" * 100_000),),
    "a number of many digits": (text("9" * 100_000),),
    "a number": (text(1),),
    "a list": (text([welcome()]),),
    "null": (text(None),),
    "no keys": (text({}),),
    "a key more": (text(welcome(more=1)),),
    "a key twice": (text('{"virtual_ip":"100.64.0.9","peers":[],"peers":[]}'),),
    "peers no list": (text(welcome(peers="x")),),
    "peers an object": (text(welcome(peers={})),),
    "a peer no object": (text(welcome(1)),),
    "a peer without a name": (text(welcome({"public_key": a_key_text(1), "virtual_ip": "100.64.0.1"})),),
    "a name that is a number": (text(welcome(entry(display_name=5))),),
    "a name that is endless": (text(welcome(entry(display_name="x" * 129))),),
    "a name that is empty": (text(welcome(entry(display_name=""))),),
    "a key that is null": (text(welcome(entry(public_key=None))),),
    "a key that is none": (text(welcome(entry(public_key=ESCAPES))),),
    "an address that is a number": (text(welcome(virtual_ip=1)),),
    "an address that is none": (text(welcome(virtual_ip=ESCAPES)),),
    "an address with a scope": (text(welcome(virtual_ip=f"fe80::1%{ESCAPES}")),),
    "an address spelled otherwise": (text(welcome(virtual_ip="FD00::1")),),
    "a notice first": (text(entry()),),
    "a leave first": (text({"removed_peer": "100.64.0.1"}),),
    "a second welcome": (text(welcome()), text(welcome())),
    "a leave that is a list": (text(welcome()), text({"removed_peer": ["100.64.0.1"]})),
    "binary": (Frame(Opcode.BINARY, json.dumps(welcome()).encode()),),
    "no UTF-8": (Frame(Opcode.TEXT, b'{"\xff"}'),),
    "a reserved opcode": (Frame(Opcode.TEXT, b"", rsv1=True),),
    "a close code that may not be": (closing(999, "x"),),
    "fragments without end": tuple(Frame(Opcode.CONT if n else Opcode.TEXT, b"", fin=False) for n in range(2000)),
}


@pytest.mark.parametrize("form", ["--json", "--name=x"])
@pytest.mark.parametrize("kind", BAD_MESSAGES)
async def test_a_message_that_is_not_the_protocols_ends_the_client_with_one_line(kind: str, form: str) -> None:
    result = await join(sends(*BAD_MESSAGES[kind]), form)
    assert ends_with_one_line(result), result.output
    assert shows_text_alone(result)


async def test_a_notice_that_contradicts_the_picture_ends_the_client_with_one_line() -> None:
    for notice in (entry(1), entry(2, virtual_ip="100.64.0.9"), {"removed_peer": "100.64.0.3"}):
        result = await join(sends(text(welcome(entry(1))), text(notice)))
        assert ends_with_one_line(result), result.output


async def test_a_welcome_that_contradicts_itself_ends_the_client_with_one_line() -> None:
    for peers in ([entry(1), entry(2, virtual_ip="100.64.0.1")], [entry(1, virtual_ip="100.64.0.9")]):
        result = await join(sends(text(welcome(*peers))))
        assert ends_with_one_line(result), result.output


FINAL = closing(4501, "the end")


@pytest.mark.parametrize("form", ["--json", "--name=x"])
@pytest.mark.parametrize(
    "script",
    [
        sends(text(welcome(entry(1, display_name=ESCAPES))), text(entry(2, display_name=ESCAPES)), FINAL),
        sends(text(welcome(entry(1, display_name="x\ud800"))), FINAL),
        sends(text(welcome(entry(1, display_name=ESCAPES))), text({"removed_peer": "100.64.0.1"}), FINAL),
        sends(closing(4501, ESCAPES)),
        answers(b"HTTP/1.1 403 No\r\n\r\n" + ESCAPES.encode()),
        answers(b"HTTP/1.1 403 \x1b[31m\x9b\r\n\r\n" + bytes(range(256))),
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x1b[2J\x07"),
        answers(b"HTTP/1.1 204 No Content\r\n\r\n"),
        answers(b"HTTP/1.1 101 Go\r\nUpgrade: \x1b[31m\r\nConnection: \x1b[2J\r\nSec-WebSocket-Accept: \x1b\r\n\r\n"),
        answers(b"\x1b[31m\x07\r\n\r\n"),
        answers(b"HTTP/1.1 302 Found\r\nLocation: ws://\x1b[31m/\r\n\r\n"),
        answers(b""),
    ],
    ids=["names", "surrogate", "leave", "reason", "body", "status", "no upgrade", "no body", "headers", "no HTTP",
         "redirect", "nothing"],
)  # fmt: skip
async def test_whatever_a_service_says_the_terminal_gets_printable_text(script: Script, form: str) -> None:
    result = await join(script, form)
    assert ends_with_one_line(result), result.output
    assert shows_text_alone(result), result.output


async def test_the_option_json_prints_each_message_in_ascii() -> None:
    named = entry(1, display_name=f"Büro {ESCAPES}")
    result = await join(sends(text(welcome(named)), text({"removed_peer": "100.64.0.1"}), FINAL), "--json")
    first, second, _ = result.output.splitlines()
    assert first.isascii()
    assert json.loads(first) == welcome(named)
    assert second == '{"removed_peer":"100.64.0.1"}'


async def test_a_redirect_is_not_followed() -> None:
    asked = list[str]()

    async def elsewhere(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())

    async with listening(elsewhere) as url:
        result = await join(answers(f"HTTP/1.1 307 Go\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode()))
    assert result.output == "wg-orchestrator: HTTP 307\n"
    assert asked == []


async def test_of_an_endless_body_only_one_line_is_shown() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 No\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    for script_ in (script, answers(b"HTTP/1.1 404 No\r\n\r\n" + b"x\n" * 100_000)):
        result = await join(script_)
        assert ends_with_one_line(result)
        assert len(result.output) < 300


async def test_a_welcome_of_20_000_peers_with_the_longest_names_fits() -> None:
    addresses = [f"fd00:1111:1111:1111:1111:1111:1111:{0x1000 + number:x}" for number in range(20_000)]
    peers = [entry(display_name="🦊" * 128, virtual_ip=address) for address in addresses]
    whole = Frame(Opcode.TEXT, json.dumps(welcome(*peers), ensure_ascii=False).encode())
    result = await join(sends(whole, FINAL))
    assert "you are 100.64.0.9; 20000 others\n" in result.output


async def test_a_message_larger_than_the_bound_ends_the_client() -> None:
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await open_websocket(reader, writer)
        opcode = Opcode.TEXT
        while True:
            writer.write(Frame(opcode, b" " * 65536, fin=False).serialize(mask=False))
            await writer.drain()
            sent += 65536
            opcode = Opcode.CONT

    result = await join(script, limits=Limits(max_message_size=2**20))
    assert ends_with_one_line(result), result.output
    assert sent < 2**24


async def test_more_peers_than_the_bound_end_the_client() -> None:
    for messages in ([welcome(entry(1), entry(2)), entry(3)], [welcome(entry(1), entry(2), entry(3))]):
        result = await join(sends(*map(text, messages)), limits=Limits(max_peers=2))
        assert ends_with_one_line(result), result.output


@pytest.mark.parametrize("stage", ["head", "welcome"])
async def test_a_service_that_sends_slowly_for_ever_is_given_up_after_a_time(stage: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stage == "head":
            writer.write(b"HTTP/1.1 101 Go\r\n")
        else:
            await open_websocket(reader, writer)
            writer.write(b"\x81\x7e\xff\xff")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    result = await join(script, limits=Limits(open_timeout=0.3, welcome_timeout=0.3))
    assert ends_with_one_line(result), result.output


@pytest.fixture
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ws", "socks", "https", "http", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.mark.usefixtures("_no_proxy")
@pytest.mark.parametrize("name", ["socks_proxy", "ws_proxy", "http_proxy"])
@pytest.mark.parametrize("scheme", ["socks5", "gopher"])
async def test_a_proxy_that_can_not_be_used_is_said_in_one_line(
    name: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"{scheme}://user:secret@127.0.0.1:1")
    result = await join(sends(text(welcome()), FINAL))
    assert ends_with_one_line(result), result.output
    assert "proxy" in result.output
    assert "secret" not in result.output


@pytest.mark.usefixtures("_no_proxy")
async def test_an_http_proxy_of_the_environment_is_used_and_its_answer_is_shown_as_safe_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with listening(answers(b"HTTP/1.1 403 No\r\n\r\n\x1b[31m")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.replace("ws://", "http://").removesuffix("/tenants/acme"))
        result = await join(sends(text(welcome()), FINAL))
    assert ends_with_one_line(result), result.output
    assert shows_text_alone(result)
    assert "403" in result.output


@pytest.mark.parametrize(
    "url",
    ["ws://", "ws://127.0.0.1:99999/", "ws://[::1/", "ws://a..b/", "ws://" + "x" * 70 + "/", "ws://h/\udc80", "x"],
)
def test_an_invalid_url_ends_the_client_with_one_line(url: str) -> None:
    result = click.testing.CliRunner().invoke(main, ["join", url, "--public-key", a_key_text(1)])
    assert ends_with_one_line(result), result.output
    assert len(result.output.splitlines()) == 1


async def test_each_welcome_lets_the_delay_before_the_next_attempt_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings = list[float]()

    def at_once(_: float, ceiling: float) -> float:
        ceilings.append(ceiling)
        return 0

    monkeypatch.setattr(random, "uniform", at_once)
    restart, busy = closing(1012, "restart"), answers(b"HTTP/1.1 503 Busy\r\n\r\n")
    welcomed = sends(text(welcome()), restart)
    attempts = iter([welcomed, welcomed, busy, busy, sends(restart), welcomed, busy, welcomed, sends(FINAL)])

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(attempts)(reader, writer)

    result = await join(script)
    assert ends_with_one_line(result), result.output
    assert ceilings == [1, 1, 2, 4, 8, 1, 2, 1]
