"""All functions of the pure-Python core.

`COMETKMS_PURE=1` selects it.
"""

from collections.abc import Sequence
from typing import Any, Final

from cometkms.core.pure import codec, crypto, keytypes, rawbytes, sealed
from cometkms.core.pure.audit import PureTrail
from cometkms.core.pure.hot import PureHotPath
from cometkms.core.pure.noise import PureNoise
from cometkms.core.pure.session import session
from cometkms.core.pure.sign import PureSignPath


class PureCore:
    """Hold the functions of the pure-Python core, all of them."""

    name = "pure"
    decode_message = staticmethod(codec.decode_message)
    encode_message = staticmethod(codec.encode_message)
    check_request = staticmethod(codec.check_request)
    extension_sign_bytes = staticmethod(codec.extension_sign_bytes)
    parse_sign_bytes = staticmethod(codec.parse_sign_bytes)
    same_but_timestamp = staticmethod(codec.same_but_timestamp)
    reads_as_vote = staticmethod(rawbytes.reads_as_vote)
    raw_bytes = staticmethod(rawbytes.raw_bytes)
    ephemeral_public = staticmethod(crypto.ephemeral_public)
    key_schedule = staticmethod(crypto.key_schedule)
    frames = staticmethod(crypto.PureFrames)
    shared_secret = staticmethod(crypto.shared_secret)
    noise = staticmethod(PureNoise)
    key_slot = staticmethod(crypto.key_slot)
    sealed_slot = staticmethod(crypto.sealed_slot)
    outside_slot = staticmethod(crypto.outside_slot)
    seal_key = staticmethod(sealed.seal_key)
    unseal_key = staticmethod(sealed.unseal_key)
    require = staticmethod(keytypes.require)
    verify = staticmethod(keytypes.verify)
    session = staticmethod(session)
    trail = staticmethod(PureTrail)

    def hot_path(self, **_: Any) -> PureHotPath:
        """One that finds nothing plain."""
        return PureHotPath()

    def audit_lines(self, _chains: Sequence[str]) -> None:
        """None: its twin is cometkms.audit, for everything."""
        return

    def sign_path(self, **named: Any) -> PureSignPath:
        """One that finds nothing plain."""
        return PureSignPath(named["permits"].pop, len(named["slots"]))

    def relay_path(self) -> None:
        """None: its twin is cometkms.agent, for everything."""
        return


CORE: Final = PureCore()
