import time
from collections.abc import AsyncIterator

import anyio
import pytest
from nats.aio.msg import Msg

from harness.nats_server import NatsServer
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard


@pytest.fixture
async def connection(server: NatsServer) -> AsyncIterator[Connection]:
    connection = Connection(ConnectionOptions((server.url,)))
    await connection.connect()
    yield connection
    await connection.close()


async def test_each_question_gets_its_own_answer(connection: Connection) -> None:
    async def double(question: Msg) -> None:
        await question.respond(2 * question.data)

    await connection.client.subscribe("double", cb=double)
    answers = dict[bytes, bytes]()

    async def ask(question: bytes) -> None:
        answers[question] = await connection.ask("double", question, None, 5)

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(ask, bytes([number]))
    assert answers == {bytes([number]): bytes([number, number]) for number in range(100)}


async def test_a_question_that_nobody_listens_to_fails_at_once(connection: Connection) -> None:
    asked = time.monotonic()
    with pytest.raises(NotHeard):
        await connection.ask("nobody", b"", None, 30)
    assert time.monotonic() - asked < 10


async def test_a_question_times_out_and_its_late_answer_is_ignored(connection: Connection) -> None:
    questions = list[Msg]()

    async def keep(question: Msg) -> None:
        questions.append(question)

    await connection.client.subscribe("late", cb=keep)
    with pytest.raises(NotHeard):
        await connection.ask("late", b"", None, 0.05)
    await questions[0].respond(b"late")
    await connection.client.flush()

    async def answer(question: Msg) -> None:
        await question.respond(b"in time")

    await connection.client.subscribe("prompt", cb=answer)
    assert await connection.ask("prompt", b"", None, 5) == b"in time"
