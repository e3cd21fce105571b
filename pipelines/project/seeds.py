"""Seeds derived from keys, so that no two parts of the benchmark share a random stream."""

import hashlib


def seed_for(root: int, *keys: str | int) -> int:
    """A 32-bit seed for the stream named by `keys`, such as `seed_for(2019, "tune", "frappe", "ifm", 3)`.

    The same root and keys give the same seed on every machine; any other key gives an unrelated one.
    """
    digest = hashlib.sha256(repr((root, *keys)).encode()).digest()
    return int.from_bytes(digest[:4], "little")
