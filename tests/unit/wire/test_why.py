"""A refusal between nodes carries a code beside its words, over the wire and from other
versions too.
"""

import pytest

from cometkms.wire.why import PeerCode, Why, code_of, decode_why, encode_why


@pytest.mark.parametrize("code", PeerCode)
def test_every_code_comes_through_with_its_words(code: PeerCode) -> None:
    told = decode_why(encode_why(Why(code, "digests differ"), 1024), "refused by b: ")
    assert (told, told.code) == ("refused by b: digests differ", code)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"digests differ", "digests differ"),  # of a version without codes
        (b"[of_a_later_version] words", "words"),
        (b"[NOT a code] words", "[NOT a code] words"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_what_has_no_known_code_is_other(sent: bytes, words: str) -> None:
    told = decode_why(sent, "")
    assert (told, told.code) == (words, PeerCode.OTHER)


def test_words_without_a_code_have_the_general_one_and_a_message_has_its_bound() -> None:
    assert code_of("plain words") is PeerCode.OTHER
    assert len(encode_why(Why(PeerCode.DIGEST, "x" * 5000), 64)) == 64
