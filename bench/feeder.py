"""`python -m bench.feeder PORT SOCKETS SECONDS NOTICES`: sends notices as fast as it can, `NOTICES` of them per `send`.

With one per `send` it measures the machine's own limit for a server that sends each notice by itself. At the end it
prints how many notices it has sent, and how much CPU time that took.
"""

import json
import socket
import sys
import time

import click


def _text(payload: bytes) -> bytes:
    return bytes((0x81, len(payload))) + payload


JOIN = _text(b'{"display_name":"p00001","public_key":"%s=","virtual_ip":"100.64.12.34"}' % (b"A" * 43))
LEAVE = _text(b'{"removed_peer":"100.64.12.34"}')
PING = b"\x89\x04\x81\x2c\x88\x89"
"""Each byte of its payload would be counted wrongly if the frame were not cut out."""


def main(port: int, sockets: int, seconds: float, notices: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=2048) as listener:
        listener.accept()[0].close()  # The first connection only checks that this process listens.
        members = [listener.accept()[0] for _ in range(sockets)]
    block = JOIN if notices == 1 else (JOIN + LEAVE) * (notices // 2 - 1) + JOIN + PING + LEAVE
    sends = [member.sendall for member in members]
    end = time.process_time() + seconds
    cpu = time.process_time()
    sent = 0
    while time.process_time() < end:
        for send in sends:
            send(block)
        sent += sockets * notices
    click.echo(json.dumps({"sent": sent, "cpu": time.process_time() - cpu}))
    time.sleep(60)  # Until this process is killed: the sockets have to stay open until everything is read.


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
