import ssl
from pathlib import Path


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
            changed = tuple(time for file in self._files for time in (file.stat().st_mtime_ns, file.stat().st_ino))
            if changed == self._changed:
                return False
            # Tried first on a context that nobody uses: half of a pair that do not fit would stay in this one.
            for context in (self._new_context(), self.context):
                context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            names = " and ".join(str(file) for file in self._files)
            raise BadCertificate(f"can't use {names}: {error.strerror or error}") from error
        self._changed = changed
        return True

    @staticmethod
    def _new_context() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # TLS 1.2 has it: a handshake's work for a few bytes, over and over.
        context.set_alpn_protocols(["http/1.1"])
        return context
