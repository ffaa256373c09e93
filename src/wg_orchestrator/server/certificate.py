import ssl
import stat
from pathlib import Path

import structlog

from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.settings import Settings

logger = structlog.get_logger("wg_orchestrator")

MAX_FILE_SIZE = 2**20
"""Bytes that a file with a certificate and its chain, or with a key, may have."""


class BadCertificate(Exception):
    """A certificate and key that TLS can't be spoken with."""


class Certificate:
    """The service's TLS certificate and its key, as files that somebody renews.

    A renewed pair is for the connections to come: those that there are keep theirs.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Both in PEM, the certificate with its chain. Raises BadCertificate."""
        self._files = certificate, key
        self._changed: tuple[int, ...] = ()
        self.context = self._new_context()
        self.refresh()

    def refresh(self) -> bool:
        """Take up the files if they have changed, and say so. Raises BadCertificate; then the former ones stay."""
        try:
            changed = tuple(time for file in self._files for time in _version(file))
            if changed == self._changed:
                return False
            # Tried first on a context that nobody uses: half of a pair that do not fit would stay in this one.
            for context in (self._new_context(), self.context):
                context.load_cert_chain(*self._files, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is one of these.
            names = " and ".join(str(file) for file in self._files)
            cause = error.strerror if isinstance(error, OSError) else None
            raise BadCertificate(f"can't use {names}: {cause or error}") from error
        self._changed = changed
        return True

    def renew(self) -> None:
        """`refresh`, and have the log say what came of it."""
        try:
            if self.refresh():
                logger.info("certificate renewed")
        except BadCertificate as error:
            logger.error("certificate not renewed", error=str(error))

    @staticmethod
    def _new_context() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # TLS 1.2 has it: a handshake's work for a few bytes, over and over.
        context.set_alpn_protocols(["http/1.1"])
        return context


def certificate_of(settings: Settings) -> Certificate | None:
    """What to speak TLS with. Raises CannotStart."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        return Certificate(settings.tls_certificate, settings.tls_key)
    except BadCertificate as error:
        raise CannotStart(str(error)) from error


def _version(file: Path) -> tuple[int, int]:
    """What changes when `file` does. Raises OSError, or ValueError for what OpenSSL would read without an end."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_SIZE:
        raise ValueError(f"{file} is not a file of at most {MAX_FILE_SIZE} bytes")
    return status.st_mtime_ns, status.st_ino


def _no_password() -> str:
    """In the place of OpenSSL's own question, which waits at the terminal for an answer."""
    raise ValueError("the key is encrypted")
