"""The C core: `cometkms.interface.Core` over `cometkms._native`, with libsodium from PyNaCl's own extension file."""

from functools import cache

from cometkms.native.codec import (
    check_request,
    decode_message,
    encode_message,
    extension_sign_bytes,
    parse_sign_bytes,
    same_but_timestamp,
)
from cometkms.native.crypto import frames, key_schedule, key_slot, load_sodium, verify
from cometkms.native.session import session


class NativeCore:
    """See cometkms.interface.Core. Made by load() only."""

    name = "native"
    decode_message = staticmethod(decode_message)
    encode_message = staticmethod(encode_message)
    check_request = staticmethod(check_request)
    extension_sign_bytes = staticmethod(extension_sign_bytes)
    parse_sign_bytes = staticmethod(parse_sign_bytes)
    same_but_timestamp = staticmethod(same_but_timestamp)
    key_schedule = staticmethod(key_schedule)
    frames = staticmethod(frames)
    key_slot = staticmethod(key_slot)
    verify = staticmethod(verify)
    session = staticmethod(session)


@cache
def load() -> NativeCore:
    """The C core, ready. Raises: OperatorError if libsodium's file or a symbol of it is missing."""
    load_sodium()
    return NativeCore()
