"""Values that travel between the layers.

Frozen; no behaviour beyond comparison; the zero value never approves.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from cometkms.keytypes import row_key


class Step(IntEnum):
    """Place inside a round, in CometBFT's order (privval/file.go)."""

    NONE = 0
    PROPOSAL = 1
    PREVOTE = 2
    PRECOMMIT = 3


class HRS(NamedTuple):
    """Height, round, step: a place at which at most one thing is ever signed.

    Compares in signing order.
    """

    height: int
    round: int
    step: int

    def __str__(self) -> str:
        """Write it as logs, pages and refusals show it, as in 100/0/2."""
        return f"{self.height}/{self.round}/{self.step}"


def quorum_of(members: int) -> int:
    """The smallest number of `members` nodes such that any two groups of that size share one."""
    return members // 2 + 1


class Dialect(IntEnum):
    """The encoding a validator speaks."""

    # v0.34 to v0.40 (tendermint.privval) and v1.x (cometbft.privval.v1), whose messages differ by
    # fields only
    PROTO = 0
    AMINO = 1  # v0.33


class Line(IntEnum):
    """The release line of the validator behind the PROTO dialect, as far as its votes have told.

    Shown, and nothing depends on it.
    """

    UNKNOWN = 0
    V0 = 1  # v0.34 to v0.40
    V1 = 2  # v1.x


class Kind(IntEnum):
    """Message kinds; the numbers up to 10 are the field numbers of cometbft.privval.v1.Message.sum,
    and up to 8 of tendermint.privval's.
    """

    UNKNOWN = 0
    PUB_KEY_REQUEST = 1
    PUB_KEY_RESPONSE = 2
    SIGN_VOTE_REQUEST = 3
    SIGNED_VOTE_RESPONSE = 4
    SIGN_PROPOSAL_REQUEST = 5
    SIGNED_PROPOSAL_RESPONSE = 6
    PING_REQUEST = 7
    PING_RESPONSE = 8
    SIGN_BYTES_REQUEST = 9  # v1.x
    SIGN_BYTES_RESPONSE = 10  # of both requests
    SIGN_RAW_BYTES_REQUEST = 11  # Celestia's v0.38: field 9 as well, and told by the fields inside


#: Requests for a signature over bytes that are no vote.
BYTES_KINDS = frozenset({Kind.SIGN_BYTES_REQUEST, Kind.SIGN_RAW_BYTES_REQUEST})


class SignedType(IntEnum):
    """SignedMsgType (tendermint.types)."""

    UNKNOWN = 0
    PREVOTE = 1
    PRECOMMIT = 2
    PROPOSAL = 32


class Reason(IntEnum):
    """Why nothing is signed.

    The numbers are shared with csrc/privval.h; names become log fields and metric labels.
    """

    NONE = 0
    # senseless: decodes, but must not be signed (PROTOCOL "What each request gets")
    WRONG_CHAIN = 1
    EMPTY_CHAIN = 2
    MISSING_PAYLOAD = 3  # vote or proposal missing
    BAD_TYPE = 4  # type missing, unknown, or of the other kind
    NEGATIVE_HEIGHT = 5
    NEGATIVE_ROUND = 6
    BAD_BLOCK_ID = 7  # half-empty, or a hash of neither 0 nor 32 bytes
    UNEXPECTED_EXTENSION = 8  # extension on anything but a non-nil precommit
    UNKNOWN_KIND = 9
    # nanos outside 0..999,999,999: not what any validator sends, and no canonical form
    BAD_TIMESTAMP = 10
    BAD_POL_ROUND = 11  # below -1
    BAD_ADDRESS = 12  # validator address of neither 0 nor 20 bytes
    BYTES_NOT_ALLOWED = 13  # SignBytes, SignRawBytes: the chain's settings do not allow them
    # likewise: none, too many, without a unique id, or in a request with unknown fields
    BAD_BYTES = 14
    # SignBytes: what is signed of a vote, proposal, extension or of raw bytes, or reads as it
    BYTES_ARE_A_VOTE = 15
    # the sign rule (privval/file.go)
    HEIGHT_REGRESSION = 32
    ROUND_REGRESSION = 33
    STEP_REGRESSION = 34
    CONFLICT = 35  # same place, other data
    BURNT = 36  # same place, and what was promised there is not known
    JUMP = 37  # rule 13: height absurdly far above the watermark
    # passing troubles: answered empty, CometBFT asks again
    NO_PERMIT = 64  # no majority within PERMIT_TIMEOUT_S
    NOT_LEADER = 65
    STATE_AWAY = 66  # the state process is not there
    NOT_COMPLETE = 67  # the node asked is starting, recovering or not born yet
    UNKNOWN_ROW = 68  # the node asked has no such chain or key, or its row is not opened yet


class Outcome(IntEnum):
    """What became of a request, for the audit log; BEGAN and ENDED: of the signer process itself.
    csrc/audit.h has them too.

    FOLDED: of as many requests as `count` says, each like the one that was told before.
    SIGNED_BYTES, REFUSED_BYTES: of SignBytes and SignRawBytes, which have no place.
    """

    BEGAN = 1
    SIGNED = 2
    REPEATED = 3
    REFUSED = 4
    UNANSWERED = 5
    ENDED = 6
    FOLDED = 7
    SIGNED_BYTES = 8
    REFUSED_BYTES = 9


#: Of bytes that are no vote.
BYTES_OUTCOMES = frozenset({Outcome.SIGNED_BYTES, Outcome.REFUSED_BYTES})

#: Reasons that will not change by asking again: answered with RemoteSignerError.
FINAL_REASONS = frozenset(r for r in Reason if 0 < r < 64)

#: Of them: the place is below the last one. A validator that replays its log asks so, and by itself
#: it is no sign of a second signer.
OLDER_REASONS = frozenset({Reason.HEIGHT_REGRESSION, Reason.ROUND_REGRESSION, Reason.STEP_REGRESSION})


@dataclass(frozen=True, slots=True)
class Timestamp:
    """google.protobuf.Timestamp.

    Go's zero time is seconds -62135596800, which is the default here too.
    """

    seconds: int = -62135596800
    nanos: int = 0


@dataclass(frozen=True, slots=True)
class BlockID:
    """hash and header hash: 0 or 32 bytes; all three empty means nil."""

    hash: bytes = b""
    parts_total: int = 0
    parts_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Vote:
    """tendermint.types.Vote (PROTOCOL §3)."""

    type: int = 0
    height: int = 0
    round: int = 0
    block_id: BlockID = field(default_factory=BlockID)
    timestamp: Timestamp = field(default_factory=Timestamp)
    validator_address: bytes = b""
    validator_index: int = 0
    signature: bytes = b""
    extension: bytes = b""
    extension_signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Proposal:
    """tendermint.types.Proposal (PROTOCOL §3). pol_round -1 means none."""

    type: int = 0
    height: int = 0
    round: int = 0
    pol_round: int = 0
    block_id: BlockID = field(default_factory=BlockID)
    timestamp: Timestamp = field(default_factory=Timestamp)
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class RemoteSignerError:
    """A final refusal: CometBFT does not ask again."""

    code: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Any privval message, either direction.

    `vote`/`proposal` is None where the field is absent on the wire. A public key's response has a
    form for each line: `pub_key` is v0.x's, as keytypes.typed() makes it, b"" for one of a type
    that is not built here, None where the field is absent; `pub_key_bytes` and `pub_key_type` are
    v1.x's, of any type. `skip_extension` is v1.x's skip_extension_signing of a vote's request.
    `value` is what SignBytes and Celestia's SignRawBytes ask for, or the signature in their
    response; `unique_id` is SignRawBytes' own. `has_others`: either of the two requests came with a
    field that neither knows; it is not encoded again.
    """

    kind: Kind
    chain_id: str = ""
    pub_key: bytes | None = b""
    pub_key_bytes: bytes = b""
    pub_key_type: str = ""
    vote: Vote | None = None
    proposal: Proposal | None = None
    error: RemoteSignerError | None = None
    skip_extension: bool = False
    value: bytes = b""
    unique_id: str = ""
    has_others: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What a validator asks, decoded and checked.

    Nothing here may be signed unless `reason` is NONE.

    hrs, sign_bytes, timestamp: only for votes and proposals with reason NONE (else zero values).
    sign_bytes: length-delimited canonical bytes, at most SIGN_BYTES_MAX_BYTES. block_hash: for the
    log; b"" is nil. value, unique_id: what SignBytes and SignRawBytes ask for, whatever `reason`
    is; nothing has cut them to a bound.
    """

    kind: Kind
    reason: Reason
    chain_id: str
    hrs: HRS
    sign_bytes: bytes
    timestamp: Timestamp
    block_hash: bytes
    value: bytes = b""
    unique_id: str = ""


@dataclass(frozen=True, slots=True)
class AllowedBytes:
    """What a chain's settings allow a validator to have signed besides votes: by default nothing.

    `values`: v1.x's SignBytes. `unique_ids`: those of Celestia's SignRawBytes, compared whole.
    """

    values: bool = False
    unique_ids: tuple[str, ...] = ()


NO_BYTES = AllowedBytes()


@dataclass(frozen=True, slots=True)
class SignBytes:
    """Strictly decoded canonical sign bytes: re-encoding `chain_id`, `hrs`, … gives the same bytes."""

    type: int
    hrs: HRS
    timestamp: Timestamp
    chain_id: str
    block_hash: bytes


_NO_PLACE = HRS(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the audit log in the making. chain: its number in the settings. sign_bytes: what
    was signed, or was asked for.

    validator, identity: who asked: the address as configured, as UTF-8 of at most
    AUDIT_VALIDATOR_MAX_BYTES, and the SecretConnection's key (b"" on a unix socket).
    """

    outcome: Outcome
    reason: Reason = Reason.NONE
    kind: Kind = Kind.UNKNOWN
    chain: int = 0
    hrs: HRS = _NO_PLACE
    sign_bytes: bytes = b""
    block_hash: bytes = b""
    validator: bytes = b""
    identity: bytes = b""
    took_ns: int = 0

    @staticmethod
    def took_of(count: int) -> int:
        """`took_ns` of a FOLDED one: a record has one number for both."""
        return min(count, (1 << 32) - 1) * 1000

    @property
    def count(self) -> int:
        """How many a FOLDED one stands for."""
        return self.took_ns // 1000


@dataclass(frozen=True, slots=True)
class Watermark:
    """The last place signed or promised in a row.

    sign_bytes b"" at a place above zero: burnt, everything at that same place is refused.
    signature b"": promised, not known to be signed.
    """

    hrs: HRS = _NO_PLACE
    sign_bytes: bytes = b""
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to sign exactly these bytes: a majority of the members holds them durably at the place
    that they name.

    The proposer makes one when it has counted that majority, and the decoder of the state process's
    messages makes it again in the signer. Nobody else does (tests/lint/test_project.py), and a key
    slot signs consensus bytes for nothing else.
    """

    sign_bytes: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """What a watermark belongs to: a key and a chain.

    `public_key`: with its type, as keytypes.typed() makes it; or what a store or a member has of
    it, 32 bytes, with which only an ed25519 key's signatures verify. `key`: those 32 bytes, which
    make two rows the same. Raises: ValueError for bytes that are no public key.
    """

    public_key: bytes = field(compare=False)
    chain_id: str
    key: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", row_key(self.public_key))


class Incarnation(NamedTuple):
    """Which store of its member, in the order in which they began. `nonce`: 63 random bits."""

    number: int
    nonce: int

    def __str__(self) -> str:
        return f"{self.number}-{self.nonce:016x}"


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A seed behind a passphrase. `public_key`: as keytypes.typed() makes it. `passes`,
    `memory_bytes`: what Argon2id costs. `ciphertext`: seed (32) and tag (16).

    Whole: every field is authenticated with the ciphertext.
    """

    public_key: bytes
    passes: int
    memory_bytes: int
    salt: bytes
    nonce: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not signed, with both sides of the comparison in words."""

    reason: Reason
    text: str
