"""The HTTP application through falcon's own test client: paths, methods, and what goes wrong."""

import json

import falcon.testing
import pytest

from cometkms.api.app import make_app

from .boards import FakeBoard


class Harness:
    def __init__(self) -> None:
        self.board = FakeBoard()
        self.failures: list[tuple[str, BaseException]] = []
        self.client = falcon.testing.TestClient(
            make_app(self.board, lambda path, error: self.failures.append((path, error)), self.board.watch())
        )


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


@pytest.mark.parametrize("path", ["/healthz", "/status"])
def test_head_is_get_without_the_body(http, path):
    got, head = http.client.simulate_get(path), http.client.simulate_head(path)
    assert head.status_code == got.status_code
    assert head.headers["content-length"] == str(len(got.content))
    assert head.content == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize("path", ["/healthz", "/status"])
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


@pytest.mark.parametrize("path", ["/healthz", "/status"])
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
