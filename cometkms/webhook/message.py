"""What is sent, as bytes: the body in the form that the receiver reads, and the HTTP request around
it. Pure.

json    {"version": 1, "node", "sent_at", "test", "dropped", "alerts": [{"status": "raised" |
"over", "name", "subject", "what", "cure", "since", "at"}]}
slack   {"text": "…"}, which Slack, Mattermost and Rocket.Chat read, and Discord at its address with
        /slack behind

What an alert says may hold the words of strangers (a validator's chain id, a peer's error): in the
slack form they are escaped, so that nobody is called by them and no link is made of them.
"""

import json
from collections.abc import Sequence
from typing import Any

from cometkms import __version__
from cometkms.config.webhook import WebhookUrl
from cometkms.printable import printable
from cometkms.webhook.outbox import Notice

VERSION = 1


def body_of(form: str, node: str, notices: Sequence[Notice], dropped: int, sent_at: float) -> bytes:
    """The request's body. dropped: how many older notices could not be delivered; sent_at: UNIX
    seconds."""
    if form == "slack":
        lines = [_line(node, one) for one in notices]
        if dropped:
            lines.append(f"{dropped} older notices of {_plain(node)} could not be delivered and were dropped.")
        return _json({"text": "\n".join(lines)})
    return _json(
        {
            "version": VERSION,
            "node": node,
            "sent_at": sent_at,
            "test": False,
            "dropped": dropped,
            "alerts": [_entry(one) for one in notices],
        }
    )


def trial_body(form: str, node: str, sent_at: float) -> bytes:
    """What `cmkms alert test` sends: no alert, and it says so."""
    if form == "slack":
        return _json({"text": f"This is a test of CometKMS on {_plain(node)}. Alerts of this node will look like it."})
    return _json({"version": VERSION, "node": node, "sent_at": sent_at, "test": True, "dropped": 0, "alerts": []})


def request_of(url: WebhookUrl, body: bytes) -> bytes:
    """One POST. The connection ends with its answer."""
    host = str(url).partition("://")[2]
    head = (
        f"POST {url.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: cometkms/{__version__}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _json(document: dict[str, Any]) -> bytes:
    """ASCII, so that half a character of somebody's breaks nothing."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _entry(notice: Notice) -> dict[str, Any]:
    return {
        "status": "raised" if notice.raised else "over",
        "name": notice.name,
        "subject": notice.subject,
        "what": notice.what,
        "cure": notice.cure,
        "since": notice.since,
        "at": notice.at,
    }


def _line(node: str, notice: Notice) -> str:
    name, what = _plain(notice.name.replace("_", " ")), _plain(notice.what)
    if not notice.raised:
        lasted = max(0, round(notice.at - notice.since))
        return f":white_check_mark: over on {_plain(node)} after {lasted} s: *{name}* ({what})"
    return f":rotating_light: *{name}* on {_plain(node)}: {what}\n    Cure: {_plain(notice.cure)}"


def _plain(text: str) -> str:
    """Escape a text as Slack wants it, on one line, and with no word that calls somebody (others
    than Slack look for a bare @)."""
    escaped = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("@", "@\u200b")
