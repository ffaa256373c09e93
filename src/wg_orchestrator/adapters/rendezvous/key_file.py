import base64
import binascii
import os
from pathlib import Path

from wg_orchestrator.adapters.rendezvous.primitives import KEY_BYTES
from wg_orchestrator.settings.unusable import Unusable


def private_key(path: Path | None) -> bytes:
    """The key in this file, in WireGuard's text form. If there is none, a new one is written (0600). Without a file, a
    fresh key.

    Raises Unusable.
    """
    if path is None:
        return os.urandom(KEY_BYTES)
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            _write(path)
            return _read(path)
    except OSError as error:
        raise Unusable(f"can't use the rendezvous key {path}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    with path.open() as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise Unusable(f"the rendezvous key {path} is open to others: chmod 600")
        text = file.read(256).strip()
    try:
        key = binascii.a2b_base64(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Unusable(f"{path} has no WireGuard private key in it")
    return key


def _write(path: Path) -> None:
    """Another process may do the same at the same time: the first one's key is the key."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(new)
        except FileExistsError:
            return
    finally:
        new.unlink()
