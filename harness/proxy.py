"""A TCP proxy on 127.0.0.1 whose connections can be cut, stalled and slowed."""

import asyncio

PIECE = 64 * 1024
"""The most bytes that are passed on at once."""


class Proxy:
    """A proxy before one server. It listens only after `restore`."""

    def __init__(self, port: int, server_port: int) -> None:
        self._port = port
        self._server_port = server_port
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._delay = 0.0

    @property
    def connections(self) -> int:
        return len(self._tasks)

    async def restore(self) -> None:
        """Accept connections, and pass on all data at once."""
        self._delay = 0.0
        self._flows.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self._port, limit=PIECE)

    def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for task in self._tasks:
            task.cancel()

    def stall(self) -> None:
        """Pass nothing on, in either direction. Connections stay open, and new ones are accepted."""
        self._flows.clear()

    def slow(self, delay: float) -> None:
        """Hold each piece for `delay` seconds. This adds latency, and at most 64 KiB pass in that time."""
        self._delay = delay

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: asyncio.StreamWriter | None = None
        try:
            answers, upstream = await asyncio.open_connection("127.0.0.1", self._server_port, limit=PIECE)
            both = [
                asyncio.create_task(self._pass_on(reader, upstream)),
                asyncio.create_task(self._pass_on(answers, writer)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # The server does not listen, or the connection was cut: the client sees its connection end.
        finally:
            self._tasks.discard(task)
            for end in (writer, upstream):
                if end is not None:
                    end.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(PIECE):
            await self._flows.wait()
            if self._delay:
                await asyncio.sleep(self._delay)
            target.write(piece)
            await target.drain()


class Link:
    """The proxies through which one service reaches NATS, one before each server."""

    def __init__(self, proxies: list[Proxy]) -> None:
        self.proxies = proxies

    async def restore(self) -> None:
        for proxy in self.proxies:
            await proxy.restore()

    def cut(self) -> None:
        for proxy in self.proxies:
            proxy.cut()

    def stall(self) -> None:
        for proxy in self.proxies:
            proxy.stall()

    def slow(self, delay: float) -> None:
        for proxy in self.proxies:
            proxy.slow(delay)
