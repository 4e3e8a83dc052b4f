"""The C core: `cometkms.core.interface.Core` over `cometkms._native`, with libsodium from PyNaCl's
own extension file.
"""

from functools import cache

from cometkms.core.native import codec, crypto, keytypes
from cometkms.core.native.audit import NativeLines, NativeTrail
from cometkms.core.native.hot import hot_path
from cometkms.core.native.relay import relay_path
from cometkms.core.native.session import session
from cometkms.core.native.sign import sign_path


class NativeCore:
    """Hold the functions of the C core, all of them. Only load() makes one."""

    name = "native"
    decode_message = staticmethod(codec.decode_message)
    encode_message = staticmethod(codec.encode_message)
    check_request = staticmethod(codec.check_request)
    extension_sign_bytes = staticmethod(codec.extension_sign_bytes)
    parse_sign_bytes = staticmethod(codec.parse_sign_bytes)
    same_but_timestamp = staticmethod(codec.same_but_timestamp)
    reads_as_vote = staticmethod(codec.reads_as_vote)
    raw_bytes = staticmethod(codec.raw_bytes)
    ephemeral_public = staticmethod(crypto.ephemeral_public)
    key_schedule = staticmethod(crypto.key_schedule)
    frames = staticmethod(crypto.frames)
    shared_secret = staticmethod(crypto.shared_secret)
    noise = staticmethod(crypto.noise)
    key_slot = staticmethod(crypto.key_slot)
    sealed_slot = staticmethod(crypto.sealed_slot)
    outside_slot = staticmethod(crypto.outside_slot)
    seal_key = staticmethod(crypto.seal_key)
    unseal_key = staticmethod(crypto.unseal_key)
    require = staticmethod(keytypes.require)
    verify = staticmethod(keytypes.verify)
    session = staticmethod(session)
    hot_path = staticmethod(hot_path)
    trail = staticmethod(NativeTrail)
    audit_lines = staticmethod(NativeLines)
    sign_path = staticmethod(sign_path)
    relay_path = staticmethod(relay_path)


@cache
def load() -> NativeCore:
    """The C core, ready. Raises: OperatorError if libsodium's file or a symbol of it is missing."""
    crypto.load_sodium()
    return NativeCore()
