"""The two forms of a notice, and the request around them: no stranger's word is more
than a word in them.
"""

import json

import pytest

from cometkms.config.webhook import parse_url
from cometkms.webhook.message import body_of, request_of, trial_body
from cometkms.webhook.outbox import Notice

RAISED = Notice(True, "peer_away", "node2", "node2 is not connected", "`cmkms start` on its machine", 100.0, 105.0)
OVER = Notice(False, "peer_away", "node2", "node2 is not connected", "`cmkms start` on its machine", 100.0, 134.0)


def test_the_json_form_has_every_field() -> None:
    document = json.loads(body_of("json", "node1", [RAISED, OVER], 3, 140.0))
    common = {"name": "peer_away", "subject": "node2", "what": RAISED.what, "cure": RAISED.cure, "since": 100.0}
    assert document == {
        "version": 1, "node": "node1", "sent_at": 140.0, "test": False, "dropped": 3,
        "alerts": [{"status": "raised", **common, "at": 105.0}, {"status": "over", **common, "at": 134.0}],
    }  # fmt: skip


def test_the_slack_form_is_read_by_a_person() -> None:
    text = json.loads(body_of("slack", "node1", [RAISED, OVER], 3, 140.0))["text"]
    assert text.split("\n") == [
        ":rotating_light: *peer away* on node1: node2 is not connected",
        "    Cure: `cmkms start` on its machine",
        ":white_check_mark: over on node1 after 34 s: *peer away* (node2 is not connected)",
        "3 older notices of node1 could not be delivered and were dropped.",
    ]
    assert "dropped" not in json.loads(body_of("slack", "node1", [RAISED], 0, 140.0))["text"]


@pytest.mark.parametrize("hostile", ["<!channel>", "<https://evil|here>", "@here", "a\nb", "\x1b[2J", "\ud800", "&lt;"])
def test_a_strangers_words_call_nobody_and_begin_no_line(hostile: str) -> None:
    notice = Notice(True, "peer_away", hostile, hostile, hostile, 0.0, 0.0)
    text = json.loads(body_of("slack", hostile, [notice], 0, 0.0))["text"]
    assert text.count("\n") == 1
    for wrong in ("<", ">", "@h", "\x1b"):
        assert wrong not in text
    assert json.loads(body_of("json", hostile, [notice], 0, 0.0))["node"] == hostile


@pytest.mark.parametrize("form", ["json", "slack"])
def test_a_test_says_that_it_is_one(form: str) -> None:
    document = json.loads(trial_body(form, "node1", 5.0))
    assert document["test"] is True if form == "json" else "test of CometKMS on node1" in document["text"]


@pytest.mark.parametrize(
    ("url", "first", "host"),
    [
        ("https://hooks.example.com/services/T/B?x=1", "POST /services/T/B?x=1 HTTP/1.1", "hooks.example.com"),
        ("https://[2001:db8::1]:8443", "POST / HTTP/1.1", "[2001:db8::1]:8443"),
        ("http://127.0.0.1:9/x", "POST /x HTTP/1.1", "127.0.0.1:9"),
    ],
)
def test_the_request_names_path_host_and_length(url: str, first: str, host: str) -> None:
    head, _, body = request_of(parse_url(url), b"{}").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == first
    assert f"Host: {host}" in lines
    assert "Content-Length: 2" in lines
    assert body == b"{}"
