"""Merlin transcripts over STROBE-128 over Keccak-f[1600] (merlin.cool, strobe.sourceforge.io, FIPS
202). The readable twin of csrc/merlin.c.
"""

from typing import Final

_MASK: Final = (1 << 64) - 1
_RATE: Final = 166  # STROBE's rate for 128-bit security
_FLAG_I, _FLAG_A, _FLAG_C, _FLAG_M = 1, 2, 4, 16


def _round_constants() -> list[int]:
    """FIPS 202, algorithm 5: the bits of an LFSR."""
    constants, lfsr = [], 1
    for _ in range(24):
        constant = 0
        for bit in range(7):
            if lfsr & 1:
                constant |= 1 << ((1 << bit) - 1)
            lfsr = lfsr << 1 ^ (0x171 if lfsr & 0x80 else 0)
        constants.append(constant)
    return constants


_ROUND_CONSTANTS: Final = _round_constants()


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK if bits else value


def keccak_f1600(lanes: list[int]) -> list[int]:
    """The permutation of 25 lanes of 64 bits; lane x + 5y stands at column x, row y."""
    for constant in _ROUND_CONSTANTS:
        column = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        theta = [column[(x - 1) % 5] ^ _rotate(column[(x + 1) % 5], 1) for x in range(5)]
        lanes = [lanes[i] ^ theta[i % 5] for i in range(25)]
        x, y, moving = 1, 0, lanes[1]
        for step in range(24):  # rho and pi walk the lanes in one cycle
            x, y = y, (2 * x + 3 * y) % 5
            moving, lanes[x + 5 * y] = lanes[x + 5 * y], _rotate(moving, (step + 1) * (step + 2) // 2 % 64)
        lanes = [
            lanes[i] ^ (~lanes[i - i % 5 + (i + 1) % 5] & lanes[i - i % 5 + (i + 2) % 5] & _MASK) for i in range(25)
        ]
        lanes[0] ^= constant
    return lanes


class Merlin:
    """A transcript: append messages, draw challenges."""

    def __init__(self, label: bytes) -> None:
        first = bytes([1, _RATE + 2, 1, 0, 1, 96]) + b"STROBEv1.0.2"
        self._state = bytearray(first.ljust(200, b"\0"))
        self._permute()
        self._pos = self._begin_at = 0
        self._begin(_FLAG_M | _FLAG_A)
        self._absorb(b"Merlin v1.0")
        self.append(b"dom-sep", label)

    def append(self, label: bytes, message: bytes | bytearray) -> None:
        """Bind a message under a label."""
        self._put_label(label, len(message))
        self._begin(_FLAG_A)
        self._absorb(message)

    def challenge(self, label: bytes, size: int) -> bytes:
        """`size` bytes that depend on everything so far."""
        self._put_label(label, size)
        self._begin(_FLAG_I | _FLAG_A | _FLAG_C)
        out = bytearray()
        for _ in range(size):
            out.append(self._state[self._pos])
            self._state[self._pos] = 0
            self._advance()
        return bytes(out)

    def _put_label(self, label: bytes, size: int) -> None:
        self._begin(_FLAG_M | _FLAG_A)
        self._absorb(label + size.to_bytes(4, "little"))

    def _begin(self, flags: int) -> None:
        head = bytes([self._begin_at, flags])
        self._begin_at = self._pos + 1
        self._absorb(head)
        if flags & _FLAG_C and self._pos:
            self._run_f()

    def _absorb(self, data: bytes | bytearray) -> None:
        for byte in data:
            self._state[self._pos] ^= byte
            self._advance()

    def _advance(self) -> None:
        self._pos += 1
        if self._pos == _RATE:
            self._run_f()

    def _run_f(self) -> None:
        self._state[self._pos] ^= self._begin_at
        self._state[self._pos + 1] ^= 0x04
        self._state[_RATE + 1] ^= 0x80
        self._permute()
        self._pos = self._begin_at = 0

    def _permute(self) -> None:
        lanes = [int.from_bytes(self._state[8 * i : 8 * i + 8], "little") for i in range(25)]
        self._state = bytearray(b"".join(lane.to_bytes(8, "little") for lane in keccak_f1600(lanes)))
