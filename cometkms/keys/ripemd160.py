"""RIPEMD-160, for the addresses of secp256k1 keys: hashlib has it only where OpenSSL loads its
legacy provider. Pure.

Source: Dobbertin, Bosselaers, Preneel, "RIPEMD-160: a strengthened version of RIPEMD"
(1996), appendix A.
"""

import struct
from typing import Final

_MASK: Final = 0xFFFFFFFF
_START: Final = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
#: By round of 16 steps: the left line's constant and the right line's.
_LEFT: Final = (0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_RIGHT: Final = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0)
_RHO: Final = (7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8)
_SHIFTS: Final = (
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7),
    (13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9),
    (14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6),
    (15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5),
)  # fmt: skip


def ripemd160(data: bytes) -> bytes:
    """20 bytes."""
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + struct.pack("<Q", 8 * len(data))
    state = _START
    for at in range(0, len(padded), 64):
        words = struct.unpack_from("<16I", padded, at)
        left = _line(state, words, list(range(16)), _LEFT, (0, 1, 2, 3, 4))
        right = _line(state, words, [(9 * i + 5) % 16 for i in range(16)], _RIGHT, (4, 3, 2, 1, 0))
        state = tuple((state[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) & _MASK for i in range(5))  # type: ignore[assignment]  # five of them
    return struct.pack("<5I", *state)


def _line(
    state: tuple[int, ...],
    words: tuple[int, ...],
    order: list[int],
    constants: tuple[int, ...],
    functions: tuple[int, ...],
) -> tuple[int, ...]:
    """One of the two lines of a block: five rounds of 16 steps.

    `order`: of the words in the first round.
    """
    a, b, c, d, e = state
    for number in range(5):
        for word in order:
            mixed = (a + _mix(functions[number], b, c, d) + words[word] + constants[number]) & _MASK
            a, b, c, d, e = e, (_rotate(mixed, _SHIFTS[number][word]) + e) & _MASK, b, _rotate(c, 10), d
        order = [_RHO[word] for word in order]
    return a, b, c, d, e


def _mix(function: int, x: int, y: int, z: int) -> int:
    match function:
        case 0:
            return x ^ y ^ z
        case 1:
            return (x & y) | (~x & z)
        case 2:
            return (x | (~y & _MASK)) ^ z
        case 3:
            return (x & z) | (y & ~z)
        case _:
            return x ^ (y | (~z & _MASK))


def _rotate(value: int, bits: int) -> int:
    value &= _MASK
    return (value << bits | value >> (32 - bits)) & _MASK
