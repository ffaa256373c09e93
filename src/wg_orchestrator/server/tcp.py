import asyncio

from wg_orchestrator.domain.events import assert_never
from wg_orchestrator.rfc6455.conversation import Tcp


def end_tcp(transport: asyncio.Transport, how: Tcp) -> None:
    """Do with a TCP connection what `how` says."""
    match how:
        case Tcp.READ_ON:
            if not transport.is_closing():
                transport.resume_reading()
        case Tcp.HALF_CLOSE:
            if not transport.is_closing():  # TLS has no half-closed connections: there `close` reads until both end.
                (transport.write_eof if transport.can_write_eof() else transport.close)()
        case Tcp.CLOSE:
            transport.close()
        case Tcp.ABORT:
            transport.abort()
        case Tcp.NOTHING:
            pass
        case _:
            assert_never(how)
