"""What a signature of a secp256k1 or secp256k1eth key has to be, from the definitions and without
any library: slow, and plain.

Sources: SEC 1 (ECDSA, section 4.1), SEC 2 (the curve, section 2.4.1), RFC 6979 (the nonce, section
3.2), CometBFT crypto/secp256k1 and crypto/secp256k1eth (which hash, and that s is low).
"""

import hashlib
import hmac

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
Point = tuple[int, int] | None  # None: the point at infinity


def add(a: Point, b: Point) -> Point:
    """The sum of two points, in affine coordinates."""
    if a is None or b is None:
        return b if a is None else a
    (x1, y1), (x2, y2) = a, b
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = 3 * x1 * x1 * pow(2 * y1, -1, P) if a == b else (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def multiply(k: int, point: Point) -> Point:
    """k times the point, bit by bit."""
    found: Point = None
    while k:
        if k & 1:
            found = add(found, point)
        point = add(point, point)
        k >>= 1
    return found


def public_key(d: int) -> bytes:
    """Compressed."""
    x, y = multiply(d, G)
    return bytes([2 + (y & 1)]) + x.to_bytes(32, "big")


def decompress(key: bytes) -> Point:
    """Raises: ValueError for what is no point."""
    x = int.from_bytes(key[1:], "big")
    y = pow(x**3 + 7, (P + 1) // 4, P)
    if key[0] not in (2, 3) or x >= P or (y * y - x**3 - 7) % P:
        raise ValueError("no point")
    return x, y if y & 1 == key[0] & 1 else P - y


def nonce(d: int, digest: bytes) -> int:
    """RFC 6979 with HMAC-SHA-256."""
    seed = d.to_bytes(32, "big") + (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
    v, k = b"\x01" * 32, bytes(32)
    for byte in (b"\x00", b"\x01"):
        k = hmac.digest(k, v + byte + seed, hashlib.sha256)
        v = hmac.digest(k, v, hashlib.sha256)
    while True:
        v = hmac.digest(k, v, hashlib.sha256)
        found = int.from_bytes(v, "big")
        if 0 < found < N:
            return found
        k = hmac.digest(k, v + b"\x00", hashlib.sha256)
        v = hmac.digest(k, v, hashlib.sha256)


def sign_digest(d: int, digest: bytes) -> tuple[bytes, int]:
    """r and s, and the recovery id."""
    k = nonce(d, digest)
    x, y = multiply(k, G)
    r = x % N
    s = pow(k, -1, N) * (int.from_bytes(digest, "big") + r * d) % N
    recovery = y & 1 | (2 if x >= N else 0)
    if s > N // 2:
        s, recovery = N - s, recovery ^ 1
    return r.to_bytes(32, "big") + s.to_bytes(32, "big"), recovery


def verify_digest(key: bytes, digest: bytes, signature: bytes) -> bool:
    """With a low s only."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not 0 < r < N or not 0 < s <= N // 2:
        return False
    w = pow(s, -1, N)
    found = add(multiply(int.from_bytes(digest, "big") * w % N, G), multiply(r * w % N, decompress(key)))
    return found is not None and found[0] % N == r


def sign(d: int, message: bytes) -> bytes:
    """As CometBFT's crypto/secp256k1."""
    return sign_digest(d, hashlib.sha256(message).digest())[0]


def sign_eth(d: int, message_keccak: bytes) -> bytes:
    """As CometBFT's crypto/secp256k1eth, of the message's Keccak-256."""
    rs, recovery = sign_digest(d, message_keccak)
    return rs + bytes([recovery])
