"""What a signature of a bls12_381 key has to be, from the definitions and without any library:
slow, and plain.

Signatures are unique, so that whoever has the private key tells a right one from a
wrong one without a pairing. Sources: RFC 9380 (BLS12381G2_XMD:SHA-256_SSWU_RO: sections
5.3.1, 6.6.2, 8.8.2 and appendix E.3), draft-irtf-cfrg-bls-signature (the basic scheme;
curve and encodings in draft-irtf-cfrg-pairing-friendly-curves, appendix C), CometBFT
v1.0.1 crypto/bls12381 (keys in G1, which DST).
"""

import hashlib
from typing import Any

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
R = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
DST = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_"


class F2:
    """An element a + b·I of the field of p² elements; I² = -1.

    With b = 0 it serves as one of the field of p.
    """

    __slots__ = ("a", "b")

    def __init__(self, a: int, b: int = 0) -> None:
        self.a, self.b = a % P, b % P

    def __add__(self, o: "F2") -> "F2":
        return F2(self.a + o.a, self.b + o.b)

    def __sub__(self, o: "F2") -> "F2":
        return F2(self.a - o.a, self.b - o.b)

    def __neg__(self) -> "F2":
        return F2(-self.a, -self.b)

    def __mul__(self, o: "F2") -> "F2":
        return F2(self.a * o.a - self.b * o.b, self.a * o.b + self.b * o.a)

    def __eq__(self, o: Any) -> bool:
        return (self.a, self.b) == (o.a, o.b)

    def __hash__(self) -> int:
        return hash((self.a, self.b))

    def inverse(self) -> "F2":
        norm = pow(self.a * self.a + self.b * self.b, -1, P)
        return F2(self.a * norm, -self.b * norm)

    def sign(self) -> int:
        """RFC 9380, section 4.1: sgn0."""
        return self.a & 1 if self.a else self.b & 1

    def root(self) -> "F2 | None":
        """Either square root."""
        norm = _root(self.a * self.a + self.b * self.b)
        for half in () if norm is None else (self.a + norm, self.a - norm):
            a = _root(half * pow(2, -1, P))
            if a == 0 and self.b == 0:
                b = _root(-self.a)
                if b is not None:
                    return F2(0, b)
            elif a:
                return F2(a, self.b * pow(2 * a, -1, P))
        return None


def _root(value: int) -> int | None:
    found = pow(value, (P + 1) // 4, P)
    return found if found * found % P == value % P else None


ZERO, ONE = F2(0), F2(1)
B1, B2 = F2(4), F2(4, 4)  # of y² = x³ + b, for G1 and for G2
Point = tuple[F2, F2] | None  # None: the point at infinity
G1: Point = (
    F2(0x17F1D3A73197D7942695638C4FA9AC0FC3688C4F9774B905A14E3A3F171BAC586C55E83FF97A1AEFFB3AF00ADB22C6BB),
    F2(0x08B3F481E3AAA0F1A09E30ED741D8AE4FCF5E095D5D00AF600DB18CB2C04B3EDD03CC744A2888AE40CAA232946C5E7E1),
)


def add(one: Point, other: Point) -> Point:
    """The sum of two points, in affine coordinates."""
    if one is None or other is None:
        return other if one is None else one
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and y1 + y2 == ZERO:
        return None
    slope = F2(3) * x1 * x1 * (y1 + y1).inverse() if one == other else (y2 - y1) * (x2 - x1).inverse()
    x = slope * slope - x1 - x2
    return x, slope * (x1 - x) - y1


def multiply(k: int, point: Point) -> Point:
    """k times the point, bit by bit."""
    found: Point = None
    while k:
        if k & 1:
            found = add(found, point)
        point = add(point, point)
        k >>= 1
    return found


def is_on_curve(point: Point, b: F2) -> bool:
    return point is None or point[1] * point[1] == point[0] * point[0] * point[0] + b


def expand(message: bytes, size: int) -> bytes:
    """RFC 9380, section 5.3.1, with SHA-256."""
    suffix = DST + bytes([len(DST)])
    first = hashlib.sha256(bytes(64) + message + size.to_bytes(2, "big") + b"\0" + suffix).digest()
    block = hashlib.sha256(first + b"\x01" + suffix).digest()
    found = block
    for number in range(2, size // 32 + 1):
        block = hashlib.sha256(
            bytes(x ^ y for x, y in zip(first, block, strict=True)) + bytes([number]) + suffix
        ).digest()
        found += block
    return found


# RFC 9380, section 8.8.2: a curve with a map to ours, and the map's coefficients (appendix E.3),
# lowest power first.
A, B, Z = F2(0, 240), F2(1012, 1012), F2(-2, -1)
_K1 = 0x11560BF17BAA99BC32126FCED787C88F984F87ADF7AE0C7F9A208C6B4F20A4181472AAA9CB8D555526A9FFFFFFFFC71A
_K2 = 0x8AB05F8BDD54CDE190937E76BC3E447CC27C3D6FBD7063FCD104635A790520C0A395554E5C6AAAA9354FFFFFFFFE38D
_K3 = 0x5C759507E8E333EBB5B7A9A47D7ED8532C52D39FD3A042A88B58423C50AE15D5C2638E343D9C71C6238AAAAAAAA97D6
_K4 = 0x1530477C7AB4113B59A4C18B076D11930F7DA5D4A07F649BF54439D87D27E500FC8C25EBF8C92F6812CFC71C71C6D706
X_NUMERATOR = [
    F2(_K3, _K3),
    F2(0, _K1),
    F2(_K1 + 4, _K2),
    F2(0x171D6541FA38CCFAED6DEA691F5FB614CB14B4E7F4E810AA22D6108F142B85757098E38D0F671C7188E2AAAAAAAA5ED1),
]
X_DENOMINATOR = [F2(0, -72), F2(12, -12), ONE]
Y_NUMERATOR = [
    F2(_K4, _K4),
    F2(0, _K3 - 24),
    F2(_K1 + 2, _K2 + 2),
    F2(0x124C9AD43B6CF79BFBF7043DE3811AD0761B0F37A1E26286B0E977C69AA274524E79097A56DC4BD9E1B371C71C718B10),
]
Y_DENOMINATOR = [F2(-432, -432), F2(0, -216), F2(18, -18), ONE]
COFACTOR = int(
    "bc69f08f2ee75b3584c6a0ea91b352888e2a8e9145ad7689986ff031508ffe1329c2f178731db956d82bf015d1212b02"
    "ec0ec69d7477c1ae954cbc06689f6a359894c0adebbf6b4e8020005aaa95551",
    16,
)


def _polynomial(coefficients: list[F2], x: F2) -> F2:
    found = ZERO
    for one in reversed(coefficients):
        found = found * x + one
    return found


def map_to_curve(u: F2) -> Point:
    """A point of the curve of G2, most likely outside of G2. RFC 9380, sections 6.6.2 and 6.6.3."""
    zu2 = Z * u * u
    t = zu2 * zu2 + zu2
    x = B * (Z * A).inverse() if t == ZERO else -B * A.inverse() * (ONE + t.inverse())
    y = (x * x * x + A * x + B).root()
    if y is None:
        x = zu2 * x
        y = (x * x * x + A * x + B).root()
    assert y is not None
    if y.sign() != u.sign():
        y = -y
    return (
        _polynomial(X_NUMERATOR, x) * _polynomial(X_DENOMINATOR, x).inverse(),
        y * _polynomial(Y_NUMERATOR, x) * _polynomial(Y_DENOMINATOR, x).inverse(),
    )


def hash_to_g2(message: bytes) -> Point:
    text = expand(message, 256)
    a, b, c, d = (int.from_bytes(text[at : at + 64], "big") for at in range(0, 256, 64))
    return multiply(COFACTOR, add(map_to_curve(F2(a, b)), map_to_curve(F2(c, d))))


def serialize_g1(point: Point) -> bytes:
    """96 bytes, uncompressed, as CometBFT has public keys."""
    if point is None:
        return b"\x40" + bytes(95)
    return point[0].a.to_bytes(48, "big") + point[1].a.to_bytes(48, "big")


def compress_g2(point: Point) -> bytes:
    """96 bytes: the imaginary part of x, the real one; flags: compressed, infinity, the larger y."""
    if point is None:
        return b"\xc0" + bytes(95)
    (x, y), half = point, (P - 1) // 2
    larger = y.b > half if y.b else y.a > half
    out = bytearray(x.b.to_bytes(48, "big") + x.a.to_bytes(48, "big"))
    out[0] |= 0x80 | (0x20 if larger else 0)
    return bytes(out)


def public_key(d: int) -> bytes:
    return serialize_g1(multiply(d, G1))


def sign(d: int, message: bytes) -> bytes:
    """As CometBFT's crypto/bls12381."""
    return compress_g2(multiply(d, hash_to_g2(message)))
