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
    """The certificate and key can't be used for TLS."""


class Certificate:
    """The service's TLS certificate and its key, from files that somebody renews.

    New connections use the renewed pair; existing connections keep theirs.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Both files are PEM, the certificate with its chain. Raises BadCertificate."""
        self._files = certificate, key
        self._changed: tuple[int, ...] = ()
        self.context = self._new_context()
        self.refresh()

    def refresh(self) -> bool:
        """Load the files if they have changed; return whether so. Raises BadCertificate, and keeps the old pair."""
        try:
            changed = tuple(time for file in self._files for time in _version(file))
            if changed == self._changed:
                return False
            # First into a context that nobody uses: if certificate and key do not fit, OpenSSL keeps the certificate.
            for context in (self._new_context(), self.context):
                context.load_cert_chain(*self._files, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is one of these.
            names = " and ".join(str(file) for file in self._files)
            cause = error.strerror if isinstance(error, OSError) else None
            raise BadCertificate(f"can't use {names}: {cause or error}") from error
        self._changed = changed
        return True

    def renew(self) -> None:
        """`refresh`, and log a renewal or a failure."""
        try:
            if self.refresh():
                logger.info("certificate renewed")
        except BadCertificate as error:
            logger.error("certificate not renewed", error=str(error))

    @staticmethod
    def _new_context() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # In TLS 1.2 a client can ask for one handshake after the other, each with a few bytes.
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        return context


def certificate_of(settings: Settings) -> Certificate | None:
    """The certificate that the settings name; None if they name none. Raises CannotStart."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        return Certificate(settings.tls_certificate, settings.tls_key)
    except BadCertificate as error:
        raise CannotStart(str(error)) from error


def _version(file: Path) -> tuple[int, int]:
    """A value that changes when `file` changes. Raises OSError, or ValueError if `file` is too large or not a regular
    file: OpenSSL would read a device without an end.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_SIZE:
        raise ValueError(f"{file} is not a file of at most {MAX_FILE_SIZE} bytes")
    return status.st_mtime_ns, status.st_ino


def _no_password() -> str:
    """Called for an encrypted key. Without it OpenSSL asks at the terminal for a password, and waits."""
    raise ValueError("the key is encrypted")
