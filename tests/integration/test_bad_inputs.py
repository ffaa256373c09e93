"""Each bad input gets its one answer, and does no harm: no false notice, no file left open, no end of the process."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import write_certificate
from tests.integration.bad_inputs.case import HANDSHAKE, WELCOMED, Case
from tests.integration.bad_inputs.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FRAMES,
    JOIN,
    PING,
    PONG,
    TEXT,
    close,
    frame,
)
from tests.integration.bad_inputs.handshakes import HANDSHAKES
from tests.integration.bad_inputs.joins import JOINS, KEY, WATCHER
from tests.integration.bad_inputs.limited import LIMITED, Limited
from tests.integration.bad_inputs.play import answer
from tests.integration.bad_inputs.v2 import V2
from tests.integration.process import ServiceProcess, serving
from tests.integration.service import Client, RawClient, running

CASES = [*HANDSHAKES, *FRAMES, *JOINS, *V2]


@pytest.fixture(scope="module", params=["ws", "wss"])
def process(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ServiceProcess]:
    if not Path("/proc/self/fd").exists():
        pytest.skip("open files are counted in /proc")
    folder, options = tmp_path_factory.mktemp("service"), dict[str, Any]()
    if request.param == "wss":
        options["tls_certificate"], options["tls_key"] = write_certificate(folder, "service")
    with serving(folder, **options) as process:
        yield process


@pytest.fixture
async def service(process: ServiceProcess) -> AsyncIterator[ServiceProcess]:
    yield process
    process.abort_clients()
    await process.open_files_settle(lambda count: count == process.files_at_rest)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_bad_input_gets_its_answer_and_does_no_harm_to_others(service: ServiceProcess, case: Case) -> None:
    if case.ends and service.tls is not None:
        pytest.skip("TLS has no half-closed connections")
    log = len(service.unexpected_lines())
    watcher = await Client.join(service, WATCHER)
    files = service.open_files()
    assert await answer(service, case) == case.answer
    await service.open_files_settle(lambda count: count == files)
    newcomer = await Client.join(service, WATCHER + 1)
    await watcher.until(lambda roster: newcomer.virtual_ip in roster.peers)
    notices = [message.get("display_name", "left") for message in watcher.messages[1:]]
    assert len(notices) == 1 + 2 * case.joins
    assert all(message["public_key"] == KEY for message in watcher.messages[1 : 1 + case.joins])
    assert service.is_alive()
    assert service.unexpected_lines()[log:] == []


def test_no_two_cases_have_the_same_name() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 70


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(frame(PING), id="a ping"),
        pytest.param(frame(PONG), id="a pong"),
        pytest.param(frame(TEXT, fin=False) + frame(CONTINUATION, fin=False), id="empty fragments"),
        pytest.param(JOIN[:-1], id="all of a join but its last byte"),
        pytest.param(b"\x81", id="the first byte of a frame"),
    ],
)
async def test_a_client_that_sends_no_whole_message_in_time_is_closed(frames: bytes) -> None:
    async with running(join_timeout=0.2) as service:
        client = await RawClient.open(service)
        client.writer.write(frames)
        assert await client.read_close() == (4001, "join timeout")


async def test_a_join_in_one_write_with_the_handshake_is_read() -> None:
    async with running(join_timeout=0.2) as service:
        case = Case("a join without waiting for the handshake's answer", WELCOMED, HANDSHAKE + JOIN)
        assert await answer(service, case) == case.answer


async def test_a_binary_message_in_one_write_with_the_join_is_refused() -> None:
    async with running() as service:
        client = await RawClient.open(service)
        client.writer.write(JOIN + frame(BINARY, b"x"))
        assert await client.read_frame() != (CLOSE, b"")
        client.writer.write(close(1000))
        assert await client.read_close() == (1003, "text only")


@pytest.mark.parametrize("limited", LIMITED, ids=str)
async def test_a_bad_input_over_a_limit_is_answered(limited: Limited) -> None:
    async with running(**limited.settings) as service:
        for _ in range(limited.after):
            await RawClient.open(service)
        assert await answer(service, limited.case) == limited.case.answer
