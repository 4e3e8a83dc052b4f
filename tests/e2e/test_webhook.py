"""Alerts that are sent: by a whole node, to a receiver that takes them, hangs, refuses, sends
elsewhere or is not who it says it is.
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import HAS_NOT_FAILED, PREVOTE, Node, Validator, cmkms, environment, free_tcp, until
from tests.e2e.receiver import CERTIFICATE, Receiver

MakeNode = Callable[..., Node]
MakeReceiver = Callable[..., Receiver]
MakeValidator = Callable[..., Validator]
SECRET = "/services/T0/SECRET"


def away(one: dict[str, object]) -> bool:
    return one["name"] == "validator_away"


def statuses(receiver: Receiver) -> list[object]:
    """Of the one alert that these tests raise: their node has no validator at first."""
    return [one["status"] for one in receiver.alerts() if away(one)]


def delivery(node: Node) -> dict[str, Any]:
    """What the webhook process says of itself, as soon as it says it."""
    return until("it says how it fares", lambda: node.status().get("webhook"))


def metrics_of(node: Node) -> str:
    return node.fetch("/metrics")[1]


def secret_file(tmp_path: Path, receiver: Receiver, **where: str) -> str:
    path = tmp_path / "address"
    path.write_text(receiver.url(**where) + "\n")
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize("tls", [True, False])
def test_an_alert_is_sent_when_it_is_raised_and_when_it_is_over_and_the_address_is_shown_nowhere(
    tls: bool, make_node: MakeNode, make_validator: MakeValidator, make_receiver: MakeReceiver, tmp_path: Path
) -> None:
    receiver, address = make_receiver(tls=tls), free_tcp()
    node = make_node(address)
    with (node.home / "config.toml").open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write(f'alert_webhook = "{receiver.url()}"\n{text}')
    node.start("--log-level", "debug", SSL_CERT_FILE=str(CERTIFICATE))
    until(lambda: f"it is raised\n{node.log()}", lambda: statuses(receiver) == ["raised"])
    (raised,) = [one for one in receiver.alerts() if away(one)]
    (shown,) = [one for one in node.status()["alerts"] if away(one)]
    assert {key: raised[key] for key in ("subject", "what", "cure", "since")} == {
        key: shown[key] for key in ("subject", "what", "cure", "since")
    }
    assert receiver.got[0]["node"] == "node0"
    make_validator(address).connect()
    until(lambda: f"it is over\n{node.log()}", lambda: statuses(receiver) == ["raised", "over"])
    until("nothing waits", lambda: delivery(node)["waiting"] == 0)
    told = delivery(node)
    assert (told["to"], told["error"]) == (receiver.url(""), "")
    until("the metrics say it", lambda: "cometkms_webhook_failing 0" in metrics_of(node))
    shown_config = cmkms("config", "show", "--home", str(node.home))
    assert f"{receiver.url('')}/…" in shown_config.stdout
    doctor = cmkms("doctor", "--home", str(node.home), env=environment())
    for text in (node.log(), json.dumps(node.status()), metrics_of(node), shown_config.stdout, doctor.stdout):
        assert SECRET not in text
    assert node.stop() == 0


# every other way: tests/unit/webhook/test_post.py
@pytest.mark.parametrize("how", ["500", "hang", "redirect"])
def test_a_receiver_that_does_not_take_it_is_named_and_gets_it_later_once_and_in_order(
    how: str, make_node: MakeNode, make_validator: MakeValidator, make_receiver: MakeReceiver, tmp_path: Path
) -> None:
    words = {
        "500": "answered HTTP 500 'no_service'",
        "hang": "did not answer within 10 s",
        "redirect": "sends elsewhere (HTTP 307), and that is not followed",
    }[how]
    receiver, address = make_receiver(), free_tcp()
    receiver.behave = how
    node = make_node(address).start("--alert-webhook-file", secret_file(tmp_path, receiver))
    until(lambda: f"it says why: {delivery(node)}", lambda: words in delivery(node)["error"])
    validator = make_validator(address)
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    until("it warns, and signs on", lambda: any(words in one for one in node.status()["warnings"]))
    until(
        "both wait; and on a slow machine the alert that nothing is delivered", lambda: delivery(node)["waiting"] >= 2
    )
    until("the metrics say it", lambda: "cometkms_webhook_failing 1" in metrics_of(node))
    receiver.behave = "ok"
    until(lambda: f"it gets both\n{node.log()}", lambda: len(statuses(receiver)) >= 2)
    assert statuses(receiver) == ["raised", "over"]
    until("all is well", lambda: delivery(node)["error"] == "")
    assert set(receiver.asked) == {SECRET}
    assert node.log().count("] alerts are not delivered ") == 1, (
        "the event; the alert that tells of it on a slow machine says it, too"
    )
    assert SECRET not in node.log()


def test_a_receiver_whose_certificate_is_not_trusted_gets_nothing(
    make_node: MakeNode, make_receiver: MakeReceiver, tmp_path: Path
) -> None:
    """One that nobody vouches for, and one that is another host's."""
    receiver = make_receiver(tls=True)
    (tmp_path / "others").mkdir()
    for node, variables, where in (
        (make_node(free_tcp()), {}, "localhost"),
        (make_node(free_tcp()), {"SSL_CERT_FILE": str(CERTIFICATE)}, "127.0.0.1"),
    ):
        node.start("--alert-webhook-file", secret_file(tmp_path, receiver, host=where), **variables)
        until(
            lambda node=node: f"it says why: {delivery(node)}",
            lambda node=node: "certificate is not trusted" in delivery(node)["error"],
        )
        assert node.stop() == 0
    assert receiver.asked == []


def test_a_process_that_takes_anothers_place_repeats_nothing_and_tells_the_end(
    make_node: MakeNode, make_validator: MakeValidator, make_receiver: MakeReceiver
) -> None:
    """Killed after it delivered, with the api process that looks for alerts: neither's end is an
    end of the alert.
    """
    receiver, address = make_receiver(), free_tcp()
    node = make_node(address).start("--alert-webhook", receiver.url())
    until(lambda: f"it is raised\n{node.log()}", lambda: statuses(receiver) == ["raised"])
    for name in ("webhook", "api"):
        before = node.child(name)
        os.kill(before["pid"], signal.SIGKILL)
        until(f"another {name}", lambda name=name, before=before: node.child(name)["pid"] not in (None, before["pid"]))
    until("the alert is raised again here", lambda: any(away(one) for one in node.status()["alerts"]))
    make_validator(address).connect()
    until(lambda: f"it is over\n{node.log()}", lambda: "over" in statuses(receiver))
    assert statuses(receiver) == ["raised", "over"]


@pytest.mark.parametrize("why", ["is not there", "is for all to read", "has no address"])
def test_a_file_that_is_wrong_is_told_and_the_node_signs(
    why: str, make_node: MakeNode, make_validator: MakeValidator, make_receiver: MakeReceiver, tmp_path: Path
) -> None:
    path, address = tmp_path / "address", free_tcp()
    if why != "is not there":
        path.write_text("nothing of the kind" if why == "has no address" else make_receiver().url())
        path.chmod(0o644 if why == "is for all to read" else 0o600)
    words = {
        "is not there": "no such file",
        "is for all to read": "chmod 600",
        "has no address": "write https://HOST/PATH",
    }[why]
    node, validator = make_node(address), make_validator(address)
    node.start("--alert-webhook-file", str(path))
    until(lambda: f"it says why: {node.status()}", lambda: words in delivery(node)["error"])
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    assert node.child("webhook")["last_exit"] in HAS_NOT_FAILED
    assert "nothing of the kind" not in node.log()


# --- cmkms alert test ---


def home_that_sends(node: Node, receiver: Receiver, form: str = "json", host: str = "localhost") -> list[str]:
    path = node.home / "priv" / "webhook"
    path.write_text(receiver.url(host=host))
    path.chmod(0o600)
    config = node.home / "config.toml"
    text = config.read_text()
    config.write_text(f'alert_webhook_file = "priv/webhook"\nalert_webhook_form = "{form}"\n{text}')
    return ["alert", "test", "--home", str(node.home)]


@pytest.mark.parametrize("form", ["json", "slack"])
def test_a_test_is_sent_and_what_came_back_is_said(form: str, make_node: MakeNode, make_receiver: MakeReceiver) -> None:
    receiver = make_receiver(tls=True)
    command = home_that_sends(make_node(free_tcp()), receiver, form)
    done = cmkms(*command, env=environment(SSL_CERT_FILE=str(CERTIFICATE)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{receiver.url('')} took it ({form}): HTTP 200, 'ok', ")
    (got,) = receiver.got
    assert got["test"] is True if form == "json" else got["text"].startswith("This is a test of CometKMS on node0.")
    told = json.loads(cmkms(*command, "--json", env=environment(SSL_CERT_FILE=str(CERTIFICATE))).stdout)
    assert (told["to"], told["status"], told["words"]) == (receiver.url(""), 200, "ok")


@pytest.mark.parametrize(
    ("how", "words"),
    [("403", "answered HTTP 403 'no_service'"), ("redirect", "not followed"), ("drop", "closed the connection")],
)
def test_a_test_that_is_not_taken_says_so_and_fails(
    how: str, words: str, make_node: MakeNode, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver()
    receiver.behave = how
    done = cmkms(*home_that_sends(make_node(free_tcp()), receiver))
    assert done.returncode == 1
    assert words in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_a_test_without_a_webhook_says_what_to_configure(make_node: MakeNode) -> None:
    done = cmkms("alert", "test", "--home", str(make_node(free_tcp()).home))
    assert done.returncode == 3
    assert "alert_webhook_file" in done.stderr


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("no-such-host.invalid", "name or service not known|no answer of the name servers"),
        ("127.0.0.1", "certificate is not"),
    ],
)
def test_a_test_to_nowhere_says_where_it_ended(
    host: str, words: str, make_node: MakeNode, make_receiver: MakeReceiver
) -> None:
    done = cmkms(*home_that_sends(make_node(free_tcp()), make_receiver(tls=True), host=host))
    assert done.returncode == 1
    assert any(one in done.stderr for one in words.split("|")), done.stderr
