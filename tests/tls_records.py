"""A TLS 1.3 client that seals its records itself (RFC 8446, section 5): any kind, any content, cut anywhere."""

import asyncio
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

ALERT, HANDSHAKE, DATA = 21, 22, 23

KEY_UPDATE = b"\x18\x00\x00\x01\x01"
"""Section 4.6.3; the other side is asked for one, too."""
WARNING = b"\x01\x5a"
"""Section 6.1: `user_canceled`."""


class RecordClient:
    """A connection on which OpenSSL has shaken hands; from then on what is sent is the test's."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        secret: bytes,
    ) -> None:
        self.writer = writer
        self._reader = reader
        self._tls = tls
        self._incoming = incoming
        self._secret = secret
        self._number = 0

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext, folder: Path) -> "RecordClient":
        """`context` has a keylog file in `folder` from then on."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        keys = folder / "keys"
        keys.unlink(missing_ok=True)
        context.keylog_filename = str(keys)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
        writer.write(outgoing.read())
        cipher = tls.cipher()
        assert cipher is not None
        assert cipher[0] == "TLS_AES_256_GCM_SHA384"
        lines = [line.split() for line in keys.read_text().splitlines()]
        (secret,) = [bytes.fromhex(line[2]) for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0"]
        return cls(reader, writer, tls, incoming, secret)

    def seal(self, content: bytes, kind: int = DATA) -> bytes:
        """The next record."""
        key, nonce = self._derived(b"key", 32), self._derived(b"iv", 12)
        nonce = bytes(a ^ b for a, b in zip(nonce, self._number.to_bytes(12, "big"), strict=True))
        self._number += 1
        header = bytes((DATA, 3, 3)) + (len(content) + 17).to_bytes(2, "big")
        record = header + AESGCM(key).encrypt(nonce, content + bytes((kind,)), header)
        if content == KEY_UPDATE:
            self._secret, self._number = self._derived(b"traffic upd", 48), 0
        return record

    async def read(self) -> bytes:
        """What the other side says next; nothing at the end of the stream."""
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                data = await self._reader.read(65536)
                if not data:
                    return b""
                self._incoming.write(data)

    def _derived(self, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label, section 7.1."""
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0"
        return HKDFExpand(SHA384(), size, info).derive(self._secret)
