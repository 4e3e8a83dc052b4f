"""Generators of privval values: what a validator sends, and what it never would."""

from hypothesis import strategies as st

from cometkms.keytypes import KEY_TYPES, KeyType, typed
from cometkms.model import BlockID, Kind, Message, Proposal, RemoteSignerError, Timestamp, Vote

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
HASH = st.one_of(st.just(b""), st.binary(min_size=32, max_size=32), st.binary(max_size=40))
CHAIN = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=50)
STAMP = st.one_of(
    st.builds(Timestamp, st.integers(0, 2**33), st.integers(0, 999_999_999)), st.builds(Timestamp, INT64, INT32)
)
BLOCK = st.one_of(
    st.just(BlockID()),
    st.builds(BlockID, st.binary(min_size=32, max_size=32), st.integers(1, 100), st.binary(min_size=32, max_size=32)),
    st.builds(BlockID, HASH, st.integers(0, 2**32 - 1), HASH),
)
PLACE_HEIGHT = st.one_of(st.integers(0, 2**40), INT64)
PLACE_ROUND = st.one_of(st.integers(0, 100), INT32)
VOTE = st.builds(
    Vote,
    st.one_of(st.sampled_from([1, 2]), INT32),
    PLACE_HEIGHT,
    PLACE_ROUND,
    BLOCK,
    STAMP,
    st.one_of(st.just(b""), st.binary(min_size=20, max_size=20), st.binary(max_size=30)),
    INT32,
    st.binary(max_size=64),
    st.binary(max_size=300),
    st.binary(max_size=64),
)
PROPOSAL = st.builds(
    Proposal,
    st.one_of(st.just(32), INT32),
    PLACE_HEIGHT,
    PLACE_ROUND,
    st.one_of(st.just(-1), INT32),
    BLOCK,
    STAMP,
    st.binary(max_size=64),
)
GOOD_STAMP = st.builds(Timestamp, st.integers(0, 2**33), st.integers(0, 999_999_999))
GOOD_BLOCK = st.one_of(
    st.just(BlockID()),
    st.builds(BlockID, st.sampled_from([b"a" * 32, b"b" * 32]), st.integers(1, 2), st.just(b"p" * 32)),
)
SENSIBLE = st.one_of(
    st.builds(
        lambda *vote: Message(Kind.SIGN_VOTE_REQUEST, vote=Vote(*vote)),
        st.sampled_from([1, 2]),
        st.integers(0, 2),
        st.integers(0, 2),
        GOOD_BLOCK,
        GOOD_STAMP,
    ),
    st.builds(
        lambda *proposal: Message(Kind.SIGN_PROPOSAL_REQUEST, proposal=Proposal(*proposal)),
        st.just(32),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(-1, 1),
        GOOD_BLOCK,
        GOOD_STAMP,
    ),
)
ERROR = st.builds(RemoteSignerError, INT32, st.text(max_size=50))
REQUESTS = st.one_of(
    st.builds(Message, st.just(Kind.PUB_KEY_REQUEST), CHAIN),
    st.builds(
        Message,
        st.just(Kind.SIGN_VOTE_REQUEST),
        CHAIN,
        vote=st.one_of(st.none(), VOTE),
        skip_extension=st.booleans(),
    ),
    st.builds(Message, st.just(Kind.SIGN_PROPOSAL_REQUEST), CHAIN, proposal=st.one_of(st.none(), PROPOSAL)),
    st.just(Message(Kind.PING_REQUEST)),
)
#: v1.x and Celestia have them and v0.33 has not.
BYTES_REQUESTS = st.one_of(
    st.builds(Message, st.just(Kind.SIGN_BYTES_REQUEST), value=st.binary(max_size=300)),
    st.builds(
        Message,
        st.just(Kind.SIGN_RAW_BYTES_REQUEST),
        st.one_of(st.just(""), CHAIN),
        value=st.binary(max_size=300),
        unique_id=st.text(max_size=30),
    ),
)
BYTES_RESPONSES = st.builds(
    Message,
    st.just(Kind.SIGN_BYTES_RESPONSE),
    value=st.binary(max_size=100),
    error=st.one_of(st.none(), ERROR),
)


def _typed(key_type: KeyType) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=key_type.public_bytes, max_size=key_type.public_bytes).map(
        lambda raw: typed(key_type, raw)
    )


def _pub_key_responses(types: list[KeyType]) -> st.SearchStrategy[Message]:
    return st.builds(
        Message,
        st.just(Kind.PUB_KEY_RESPONSE),
        pub_key=st.one_of(st.none(), st.just(b""), *map(_typed, types)),
        pub_key_bytes=st.binary(max_size=100),
        pub_key_type=st.text(max_size=12),
        error=st.one_of(st.none(), ERROR),
    )


RESPONSES = st.one_of(
    _pub_key_responses([one for one in KEY_TYPES if one.in_amino]),
    st.builds(Message, st.just(Kind.SIGNED_VOTE_RESPONSE), vote=VOTE, error=st.one_of(st.none(), ERROR)),
    st.builds(Message, st.just(Kind.SIGNED_PROPOSAL_RESPONSE), proposal=PROPOSAL, error=st.one_of(st.none(), ERROR)),
    st.just(Message(Kind.PING_RESPONSE)),
)
MESSAGES = st.one_of(REQUESTS, RESPONSES)
V1_MESSAGES = st.one_of(MESSAGES, _pub_key_responses(list(KEY_TYPES)), BYTES_REQUESTS, BYTES_RESPONSES)
