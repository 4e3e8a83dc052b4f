"""The HTTP application through falcon's own test client: paths, methods, and what goes wrong."""

import json

import falcon.testing
import pytest

from cometkms.api import page
from cometkms.api.app import make_app
from cometkms.limits import STREAM_MAX_S

from .boards import FakeBoard


class Harness:
    def __init__(self, *, loopback_only: bool = False) -> None:
        self.board = FakeBoard()
        self.board_watch = self.board.watch()
        self.failures: list[tuple[str, BaseException]] = []
        self.clock = lambda: 0.0
        app = make_app(
            self.board,
            lambda path, error: self.failures.append((path, error)),
            self.board_watch,
            loopback_only=loopback_only,
            clock=lambda: self.clock(),
        )
        self.client = falcon.testing.TestClient(app)


@pytest.fixture
def http() -> Harness:
    return Harness()


def test_healthz_is_ok_and_nothing_else_when_all_is_well(http):
    result = http.client.simulate_get("/healthz")
    assert result.status_code == 200
    assert result.text == "ok"
    assert result.headers["content-type"].startswith("text/plain")
    assert result.headers["cache-control"] == "no-store"


def test_healthz_is_503_with_the_reasons_when_a_child_is_down(http):
    http.board.sections_now["supervisor"]["children"][1].update(state="back-off", last_exit="exit 7")
    http.board.ages["state"] = None
    result = http.client.simulate_get("/healthz")
    assert result.status_code == 503
    assert result.text == "state has not beaten yet\nsigner is back-off (last exit: exit 7)"


def test_status_is_json_and_200_even_in_trouble(http):
    http.board.sections_now["state"] = None
    result = http.client.simulate_get("/status")
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/json"
    assert result.json["healthy"] is False
    assert result.json["trouble"] == ["state has not reported yet"]


@pytest.mark.parametrize("path", ["/healthz", "/status", "/"])
def test_head_is_get_without_the_body(http, path):
    got, head = http.client.simulate_get(path), http.client.simulate_head(path)
    assert head.status_code == got.status_code
    assert head.headers["content-length"] == str(len(got.content))
    assert head.content == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize("path", ["/healthz", "/status", "/", "/events"])
def test_every_other_method_is_405_and_names_the_allowed_ones(http, method, path):
    result = http.client.simulate_request(method, path)
    assert result.status_code == 405
    assert result.headers["allow"] == "GET, HEAD"
    assert result.json == {"error": "method not allowed"}


@pytest.mark.parametrize(
    "path", ["/page", "/status/", "/healthz/x", "/raft/peer", "/../etc/passwd", "/%00", "/status%20"]
)
def test_an_unknown_path_is_404_in_json(http, path):
    result = http.client.simulate_get(path)
    assert result.status_code == 404
    assert json.loads(result.text) == {"error": "not found"}


@pytest.mark.parametrize("path", ["/healthz", "/status", "/"])
def test_a_failure_of_ours_is_told_to_the_log_and_never_to_the_client(http, path):
    def explode():
        raise ZeroDivisionError("the board is a secret place")

    http.board.sections = explode
    result = http.client.simulate_get(path)
    assert result.status_code == 500
    assert result.json == {"error": "internal error; see the node's log"}
    assert [(p, type(e)) for p, e in http.failures] == [(path, ZeroDivisionError)]


def test_an_accept_header_asking_for_xml_still_gets_json(http):
    result = http.client.simulate_get("/nowhere", headers={"Accept": "text/xml"})
    assert result.headers["content-type"] == "application/json"


def test_the_page_comes_with_its_policy_and_is_never_kept(http):
    result = http.client.simulate_get("/")
    assert result.status_code == 200
    assert result.headers["content-type"] == "text/html; charset=utf-8"
    assert result.headers["content-security-policy"] == page.POLICY
    assert result.headers["cache-control"] == "no-store"
    assert result.headers["x-content-type-options"] == "nosniff"
    assert result.text.startswith("<!doctype html>")
    assert "node0 leads and signs" in result.text


async def at_once():
    """A turn that is over."""


def events_of(result) -> list[dict]:
    return [json.loads(line[6:]) for line in result.text.splitlines() if line.startswith("data: ")]


def test_the_stream_begins_with_all_parts_and_ends_with_its_time(http):
    http.clock = iter([0.0, 0.0, STREAM_MAX_S + 1]).__next__
    http.board_watch.next_turn = at_once
    result = http.client.simulate_get("/events")
    assert result.headers["content-type"] == "text/event-stream"
    (first,) = events_of(result)
    assert {"clock", "title", "headline", "timeline", "nodes"} <= set(first)


def test_only_what_changed_follows(http):
    http.clock = iter([0.0] * 3 + [STREAM_MAX_S + 1]).__next__

    async def change():
        http.board.sections_now["state"].update(leader_id="node9", is_leader=False)
        http.board.now += 1
        http.board_watch.look()

    http.board_watch.next_turn = change
    first, second = events_of(http.client.simulate_get("/events"))
    assert "node9 leads" in second["headline"]
    assert "processes" in first
    assert "refusals" not in second


def test_no_stream_outlives_the_watch(http):
    http.board_watch.close()
    assert events_of(http.client.simulate_get("/events")) == []


def test_head_of_the_stream_is_no_stream(http):
    result = http.client.simulate_head("/events")
    assert (result.status_code, result.headers["content-type"]) == (200, "text/event-stream")


LOOPBACK_NAMES = ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "10.0.0.1", ""]


@pytest.mark.parametrize("host", LOOPBACK_NAMES)
def test_on_loopback_an_address_or_localhost_is_answered(host):
    assert Harness(loopback_only=True).client.simulate_get("/status", host=host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil", "[::1", "a" * 5000]
)
@pytest.mark.parametrize("path", ["/", "/status", "/events", "/healthz", "/nowhere"])
def test_on_loopback_a_name_that_was_made_to_point_here_is_another_site(host, path):
    """DNS rebinding: the browser believes the page is evil.example's own."""
    result = Harness(loopback_only=True).client.simulate_get(path, host=host)
    assert (result.status_code, result.json) == (421, {"error": "misdirected request"})


def test_where_the_operator_opened_the_port_any_name_is_answered():
    assert Harness().client.simulate_get("/status", host="signer-1.internal").status_code == 200
