from contextlib import closing, suppress

import anyio

from tests.integration.bad_inputs.case import WELCOMED, Answer, Case, Closed, Dropped, Status
from tests.integration.bad_inputs.frames import CLOSE, PING, PONG, TEXT, frame
from tests.integration.service import PATIENCE, Endpoint, RawClient

_PROBE = b"are you there"


async def answer(service: Endpoint, case: Case) -> Answer:
    """Be the client of this case until the connection has ended; return how the service ended it."""
    return await play(await RawClient.connect(service), case)


async def play(client: RawClient, case: Case) -> Answer:
    """Like `answer`, with a connection that is already open."""
    with anyio.fail_after(PATIENCE), closing(client.writer):
        client.writer.write(case.request)
        if case.ends and not case.frames:
            client.writer.write_eof()
        head = await _head(client)
        if not head:
            return Dropped()
        status = int(head.split()[1])
        if status == 101 and not isinstance(case.answer, Status):
            return await _websocket(client, case)
        assert status == 101 or b"HTTP/1.1 " not in await client.reader.read(), "a second answer"
        return Status(status)


async def _head(client: RawClient) -> bytes:
    try:
        return await client.reader.readuntil(b"\r\n\r\n")
    except EOFError as end:
        partial: bytes = getattr(end, "partial", b"")
        assert partial == b"", "half an answer"
        return b""


async def _websocket(client: RawClient, case: Case) -> Answer:
    client.writer.write(case.frames)
    if case.then is not None:
        opcode, _ = await client.read_frame()
        assert opcode == TEXT, "no welcome"
        client.writer.write(case.then)
    if case.ends:
        client.writer.write_eof()
    if case.answer == WELCOMED:
        client.writer.write(frame(PING, _PROBE))
    answer: Answer = Dropped()
    texts = int(case.then is not None)
    with suppress(EOFError):
        while True:
            opcode, payload = await client.read_frame()
            texts += opcode == TEXT
            if opcode == CLOSE:
                answer = Closed(int.from_bytes(payload[:2], "big"), payload[2:].decode())
            # A close frame with a reason is the service's own, and needs an answer. One without is the answer to ours.
            # When the probe's pong is here, the service has read everything before the probe, and the client is in.
            if (opcode == CLOSE and payload[2:]) or (opcode, payload) == (PONG, _PROBE):
                client.writer.write(frame(CLOSE, WELCOMED.code.to_bytes(2, "big")))
    assert texts == case.joins, "a welcome to those who are let in, and nothing else"
    return answer
