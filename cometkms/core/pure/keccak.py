"""Keccak-256 with the padding of the competition, not FIPS 202's: what Ethereum, and with it
secp256k1eth, hashes with. Pure.
"""

from typing import Final

from cometkms.core.pure.merlin import keccak_f1600

_RATE: Final = 136


def keccak_256(data: bytes) -> bytes:
    """32 bytes."""
    padded = bytearray(data + b"\x01")
    padded += bytes(-len(padded) % _RATE)
    padded[-1] |= 0x80
    lanes = [0] * 25
    for at in range(0, len(padded), _RATE):
        for lane in range(_RATE // 8):
            lanes[lane] ^= int.from_bytes(padded[at + 8 * lane : at + 8 * lane + 8], "little")
        lanes = keccak_f1600(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])
