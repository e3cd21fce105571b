"""Derive seeds from keys, so that each part of the benchmark has its own stream."""

import hashlib


def seed_for(root: int, *keys: str | int) -> int:
    """Return a 32-bit seed for the random stream that `keys` name.

    Example: `seed_for(2019, "tune", "frappe", "ifm", 3)`. The same root and keys give the same seed on every machine.
    Any other key gives an unrelated seed.
    """
    digest = hashlib.sha256(repr((root, *keys)).encode()).digest()
    return int.from_bytes(digest[:4], "little")
