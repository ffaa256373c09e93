from typing import Any

import pytest

from wg_orchestrator.adapters.nats.connection import NotHeard
from wg_orchestrator.adapters.nats.stream import Entry, Stream
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions


class Answering:
    """A connection on which somebody else is the first to answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def ask(self, *_: Any) -> bytes:
        return self._answer


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage",
        b"\xff",
        b"[" * 100_000,
        b"5",
        b"[]",
        b"null",
        b"{}",
        b'{"seq":"5"}',
        b'{"seq":null}',
        b'{"error":5}',
        b'{"error":{}}',
        b'{"error":{"code":400}}',
        b'{"message":5}',
        b'{"message":{"seq":1,"data":5}}',
        b'{"message":{"seq":1,"data":"x"}}',
    ],
)
async def test_an_answer_that_is_none_of_jetstreams_is_no_answer(answer: bytes) -> None:
    stream = Stream(Answering(answer), StreamOptions("test", "100.64.0.0/10"))  # type: ignore[arg-type]
    with pytest.raises(NotHeard):
        await stream.publish([Entry("test.x", b"", 0)])
    with pytest.raises(NotHeard):
        await stream.mark(stream.subjects, "me")
    with pytest.raises(NotHeard):
        await stream.last("test.x")
