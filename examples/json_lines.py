"""The same service over plain TCP, one JSON object a line: `python examples/json_lines.py 9000`.

A client sends `{"tenant": …, "display_name": …, "public_key": …}` and gets protocol v1's messages, or `{"refused": …}`.
"""

import asyncio
import json
import sys
from asyncio import WriteTransport
from contextlib import suppress

from dependency_injector import providers

from wg_orchestrator.container import Container
from wg_orchestrator.domain.errors import MembershipError
from wg_orchestrator.domain.events import Committed, PeerJoined, PeerLeft, assert_never
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.peer import PublicKey, parse_display_name
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId, parse_tenant_id
from wg_orchestrator.settings import Settings
from wg_orchestrator.wire import v1
from wg_orchestrator.wire.close_codes import REFUSALS


class LineNotifier:
    """A PeerNotifier whose subscribers are the transports of TCP connections."""

    def __init__(self, max_outbox_size: int) -> None:  # In bytes: a peer for which more wait is cut.
        self._max_outbox_size = max_outbox_size
        self._members: dict[TenantId, dict[PublicKey, WriteTransport]] = {}

    def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: WriteTransport) -> None:
        others = [v1.peer_entry(stay.peer) for stay in tenant.stays if stay.id != newcomer.id]
        subscriber.write(v1.welcome(newcomer.peer, others).payload + b"\n")
        self._members.setdefault(tenant.id, {})[newcomer.peer.public_key] = subscriber

    def announce(self, committed: Committed) -> None:
        event = committed.event
        peer, members = event.stay.peer, self._members.get(event.stay.tenant_id, {})
        match event:
            case PeerJoined():
                line = v1.peer_entry(peer).payload + b"\n"
            case PeerLeft():
                line = v1.peer_removal(peer).payload + b"\n"
                if (leaver := members.pop(peer.public_key, None)) is not None:
                    leaver.close()
                if not members:
                    self._members.pop(event.stay.tenant_id, None)
            case _:
                assert_never(event)
        for member in members.values():
            member.write(line)
            if member.get_write_buffer_size() > self._max_outbox_size:
                member.abort()


class LineServer:
    """Lets whoever connects join, and leave when the connection ends."""

    def __init__(self, membership: MembershipService[WriteTransport], settings: Settings) -> None:
        self._membership = membership
        self._settings = settings
        self._peers: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._on_connection, host, port, limit=self._settings.max_message_size)

    async def drain(self) -> None:
        """Let all peers go, and return when they have left."""
        for task in self._peers:
            task.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)

    def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers.add(task := asyncio.create_task(self._serve(reader, writer)))
        task.add_done_callback(self._peers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = (await asyncio.wait_for(reader.readuntil(b"\n"), self._settings.join_timeout)).decode()
            request = v1.JoinRequest.parse(line)
            name, key = parse_display_name(request.display_name), PublicKey.parse(request.public_key)
            tenant_id = parse_tenant_id(str(json.loads(line).get("tenant")))
            stay = await self._membership.join(tenant_id, name, key, writer.transport)
            try:
                while await reader.read(4096):
                    pass  # Only its end matters.
            finally:
                await self._membership.leave(stay)
        except MembershipError as error:
            close = REFUSALS.get(type(error))
            writer.write(json.dumps({"refused": close.reason if close else str(error)}).encode() + b"\n")
        except (v1.MalformedJoin, UnicodeDecodeError, asyncio.LimitOverrunError):
            writer.write(b'{"refused": "malformed join"}\n')
        except (OSError, EOFError, asyncio.TimeoutError):
            pass  # It is gone, or has not said who it is.
        finally:
            writer.close()


async def main(port: int) -> None:
    container = Container()
    settings = container.settings()
    container.notifier.override(providers.Singleton(LineNotifier, settings.max_outbox_size))
    lines = LineServer(container.membership(), settings)
    async with container.store(), await lines.start(settings.host, port) as server:
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
        try:
            await server.serve_forever()
        finally:
            await lines.drain()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9000))
