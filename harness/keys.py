import base64
import hashlib


def a_key_text(number: int) -> str:
    """A valid WireGuard public key, always the same for a number."""
    raw = bytearray(hashlib.sha256(number.to_bytes(8, "big")).digest())
    raw[31] &= 0x3F  # Below 2^254, so it is below 2^255 - 19.
    return base64.b64encode(raw).decode()
