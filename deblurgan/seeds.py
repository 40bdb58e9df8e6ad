"""Seeds of independent random draws."""

import hashlib


def seed_for(seed: int, *names: str) -> list[int]:
    """Entropy for `numpy.random.default_rng` that depends on names, not on their order or number."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return [seed, *(int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4))]
