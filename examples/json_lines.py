"""The same service over plain TCP, with one JSON object a line. Its settings (also NATS) come from the environment.

A peer's first line is {"tenant": …, "display_name": …, "public_key": …}. The service answers with the messages of
protocol v1, or with {"refused": "<reason>"}. It cuts off a peer that does not read. There are no pings, and no TLS.
"""

import argparse
import asyncio
import json
import signal
from contextlib import suppress

import anyio
from dependency_injector import providers

from wg_orchestrator.container import Container
from wg_orchestrator.domain.errors import InvalidTenantId, MembershipError
from wg_orchestrator.domain.events import Committed, PeerJoined, PeerLeft, PeerResumed, PeerUpdated, assert_never
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId, parse_tenant_id
from wg_orchestrator.wire import close_codes, v1


class Line:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, container: Container) -> None:
        self._reader, self._transport = reader, writer.transport
        self._membership, self._limits, self.cut = container.membership(), container.settings(), writer.transport.abort
        self.max_waiting = self._limits.max_outbox_size

    def tell(self, payload: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(payload + b"\n")
            if self._transport.get_write_buffer_size() > self.max_waiting:
                self.cut()

    async def serve(self) -> None:
        try:
            with anyio.fail_after(self._limits.join_timeout):
                text = (await self._reader.readuntil()).decode()
            request, tenant_id = v1.JoinRequest.parse(text), parse_tenant_id(json.loads(text).get("tenant"))
        except OSError:  # The time is over, or the connection has ended.
            return await self._end(close_codes.JOIN_TIMEOUT.reason)
        except (EOFError, asyncio.LimitOverrunError, UnicodeDecodeError, v1.MalformedJoin, InvalidTenantId, TypeError):
            return await self._end(close_codes.MALFORMED_JOIN.reason)
        try:
            newcomer = Newcomer.parse(request.display_name, request.public_key)
            stay = await self._membership.join(tenant_id, newcomer, self)
        except MembershipError as error:
            return await self._end(close_codes.REFUSALS[type(error)].reason)
        await self._end()
        return await self._membership.leave(stay)

    async def _end(self, refusal: str = "") -> None:
        with suppress(OSError), anyio.move_on_after(self._limits.close_timeout if refusal else None):
            if refusal:
                self.tell(json.dumps({"refused": refusal}).encode())
                self._transport.write_eof()  # It is cut later: a cut while data are unread could lose the refusal.
            while await self._reader.read(65_536):
                pass


class LineNotifier:
    def __init__(self) -> None:
        self._tenants: dict[TenantId, dict[Stay, Line]] = {}

    def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: Line) -> None:
        welcome = v1.welcome(newcomer.peer, [v1.peer_entry(s.peer).payload for s in tenant.stays if s != newcomer])
        subscriber.max_waiting += len(welcome.payload)  # The welcome of a large tenant may be larger than the limit.
        subscriber.tell(welcome.payload)
        self._tenants.setdefault(tenant.id, {})[newcomer] = subscriber

    def announce(self, committed: Committed) -> None:
        event, stay = committed.event, committed.event.stay
        lines = self._tenants.get(stay.tenant_id, {})
        match event:
            case PeerJoined():
                notice = v1.peer_entry(stay.peer)
            case PeerLeft():
                notice = v1.peer_removal(stay.peer)
                if stay in lines:
                    lines.pop(stay).cut()
                if not lines:
                    self._tenants.pop(stay.tenant_id, None)
            case PeerUpdated() | PeerResumed():  # Protocol v1 has no messages for these.
                return
            case _:
                assert_never(event)
        for line in lines.values():
            line.tell(notice.payload)


async def serve(port: int) -> None:
    container, lines = Container(notifier=providers.Singleton(LineNotifier)), dict[asyncio.Task[None], Line]()
    settings, grace = container.settings(), container.grace()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer, container)
        lines[task := asyncio.create_task(line.serve())] = line
        task.add_done_callback(lambda task: lines.pop(task).cut())

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with container.store():
            server = await asyncio.start_server(connected, settings.host, port, limit=settings.max_message_size)
            print(f"listening on port {server.sockets[0].getsockname()[1]}", flush=True)
            await anext(signals)
            server.close()
            grace.begin()
            with grace.bounding():
                while lines:
                    for line in lines.values():
                        line.cut()
                    await asyncio.wait(lines)


if __name__ == "__main__":
    (parser := argparse.ArgumentParser()).add_argument("--port", type=int, default=9000, help="0 picks a free one")
    asyncio.run(serve(parser.parse_args().port))
