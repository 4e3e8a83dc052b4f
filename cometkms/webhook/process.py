"""The webhook process: sends alerts to the one address that is configured. It is there only where
one is.

Never: sees a key; makes a socket; signs or holds up a signature; follows a redirect. It reads the
alerts from the api process's part of the status board, and a helper (`caller`) connects to the
configured host and port and hands the connection over. So the process that reads what the receiver
answers cannot name any other address, and the one that can connect reads nothing but a name
server's answers.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cometkms.board.sections import ApiSection, WebhookSection
from cometkms.board.shape import shape
from cometkms.board.status_board import Board
from cometkms.config.schema import Settings
from cometkms.config.webhook import Webhook, WebhookUrl
from cometkms.errors import ConfigError
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.confine import DNS_PORT, NameWatch, is_address
from cometkms.hardening.measures import Measure, MeasureReport, Mode, tell
from cometkms.hardening.scheduling import Turn, take_turn
from cometkms.hardening.user import Whom
from cometkms.ipc.child import ChildContext, run_loop, watch_names
from cometkms.ipc.helper import Helper, start_helper
from cometkms.limits import (
    ALERTS_SETTLE_S,
    ALERTS_UNKNOWN_S,
    CALLER_UID,
    CALM_BEAT_S,
    WEBHOOK_LOOK_S,
    WEBHOOK_TIMEOUT_S,
    WEBHOOK_UID,
)
from cometkms.log import Log
from cometkms.net.dialer import Dialer, serve_host
from cometkms.webhook.message import body_of
from cometkms.webhook.outbox import Outbox, unknown_alert
from cometkms.webhook.post import DeliveryError, load_authorities, post

#: Imported when they are first needed.
LATE: Final[tuple[str, ...]] = ("asyncio.streams", "asyncio.sslproto")
_HOST: Final = "the webhook's host"


@dataclass(frozen=True, slots=True)
class WebhookParts:
    """What the supervisor made before the fork."""

    settings: Settings
    webhook: Webhook
    board: Board
    log: Log


def run(context: ChildContext, parts: WebhookParts) -> int:
    """The process's whole life; returns its exit code. Raises: CometKMSError when it cannot start.

    An address that cannot be read, or no certificates: it runs all the same and says so, because
    the node must sign.
    """
    log = parts.log.bind(immediate=False, module="webhook")
    url: WebhookUrl | None = None
    authorities: ssl.SSLContext | None = None
    wrong = ""
    try:
        url = parts.webhook.source.read()
        authorities = load_authorities() if url.encrypted else None
    except ConfigError as error:
        wrong = str(error)
    shut_paths = tuple(chain.key_file for chain in parts.settings.chains)
    if url is not None and (secret := parts.webhook.source.secret_file) is not None:
        shut_paths += (secret,)
    names = NameWatch()
    caller = _start_caller(parts, url) if url is not None and not wrong else None
    keeps = Keeps(Whom("cmkms-webhook", WEBHOOK_UID), code=False, shut=shut_paths, late=LATE)
    mode = Mode(parts.settings.hardening)
    # behind the fork of the caller, which takes its own
    turn = take_turn("webhook", mode, Turn.LATER)
    measures = (*shut_child("webhook", mode, os.getppid(), keeps), turn)
    tell(log, measures)
    told = [one.document() for one in (*measures, *(caller.measures if caller is not None else ()))]

    async def main(stop: asyncio.Event) -> None:
        sender = _Sender(parts, url, authorities, caller, wrong, told, log)
        if url is not None and not is_address(url.host):
            watch_names(context, names, lambda: bool(sender.outbox.error), log, lambda: None)
        sender.publish()
        context.ready()
        work = asyncio.create_task(sender.work())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work  # it never ends but by its failure
        work.cancel()

    return run_loop(context, main, log, CALM_BEAT_S)


def _start_caller(parts: WebhookParts, url: WebhookUrl) -> Helper:
    """What connects: to that host's port, and to name servers where the host has a name."""
    name = not is_address(url.host)
    keeps = Keeps(
        Whom("cmkms-caller", CALLER_UID),
        code=False,
        names=name,
        tcp=True,
        connect=frozenset({url.port, DNS_PORT} if name else {url.port}),
        shut=tuple(chain.key_file for chain in parts.settings.chains),
    )

    def shut() -> tuple[Measure, ...]:
        mode = Mode(parts.settings.hardening)
        turn = take_turn("caller", mode, Turn.LATER)
        return (*shut_child("caller", mode, os.getppid(), keeps), turn)

    return start_helper("caller", shut, lambda connection: serve_host(connection, url.host, url.port))


class _Sender:
    """Looks at the alerts once a second, and sends what waits."""

    def __init__(
        self,
        parts: WebhookParts,
        url: WebhookUrl | None,
        authorities: ssl.SSLContext | None,
        caller: Helper | None,
        wrong: str,
        hardening: list[MeasureReport],
        log: Log,
    ) -> None:
        """`wrong`: why nothing can be sent; "" unless it is so."""
        self._parts, self._url, self._authorities, self._wrong, self._log = parts, url, authorities, wrong, log
        self._hardening = hardening
        self._dialer = Dialer(caller.connection, (_HOST,), timeout_s=WEBHOOK_TIMEOUT_S) if caller is not None else None
        self._unknown_since: float | None = None
        self.outbox = Outbox.heir(self._predecessor(), time.time())
        if wrong:
            log.error("alerts are not sent", why=wrong, what="signing goes on")

    def _predecessor(self) -> Sequence[dict[str, Any]]:
        """What the process before this one had delivered: its own section of the board is still
        there."""
        section = shape({"webhook": self._parts.board.section("webhook").read()}).get("webhook")
        return [dict(one) for one in (section or {}).get("told", [])]

    async def work(self) -> None:
        """Send until it is cancelled."""
        while True:
            self.look()
            if self._dialer is not None and self._url is not None:
                await self._send(self._dialer, self._url)
            self.publish()
            await asyncio.sleep(WEBHOOK_LOOK_S)

    # --- what is raised ---

    def look(self) -> None:
        """Look at the board once."""
        wall, board = time.time(), self._parts.board
        age_s = board.beat_ages_s().get("api")
        section: ApiSection | None = shape({"api": board.section("api").read()}).get("api")
        if age_s is None or age_s > ALERTS_UNKNOWN_S or section is None or "alerts" not in section:
            self._look_blindly(wall, age_s)
            return
        self._unknown_since = None
        looks_since = section.get("looks_since", wall)
        settled = wall - looks_since >= ALERTS_SETTLE_S or wall < looks_since
        self.outbox.see(section["alerts"], wall, settled=settled)

    def _look_blindly(self, wall: float, age_s: float | None) -> None:
        """The process that looks for alerts is away. Nothing is over for that; after a while it is
        an alert of its own."""
        now = time.monotonic()
        if self._unknown_since is None:
            self._unknown_since = now
        if now - self._unknown_since < ALERTS_UNKNOWN_S and (age_s is None or age_s <= ALERTS_UNKNOWN_S):
            return
        why = "it does not run" if age_s is None else f"it has not moved for {age_s:.0f} s"
        alert = unknown_alert(wall, f"the api process looks for alerts, and {why}")
        self.outbox.see([alert], wall, settled=False)

    # --- sending ---

    async def _send(self, dialer: Dialer, url: WebhookUrl) -> None:
        due = self.outbox.batch(time.time(), time.monotonic())
        if due is None:
            return
        notices, dropped = due
        settings = self._parts.settings
        body = body_of(self._parts.webhook.form, settings.id, notices, dropped, time.time())
        try:
            answer = await post(url, body, lambda: dialer.connect(_HOST), self._authorities)
        except DeliveryError as error:
            first = not self.outbox.error
            again_s = self.outbox.did_fail(error.what, time.monotonic(), error.retry_after_s)
            if first:
                self._log.error("alerts are not delivered", why=str(error), again_in_s=round(again_s, 1))
            return
        if self.outbox.error:
            self._log.info("alerts are delivered again", failed=self.outbox.failed, dropped=self.outbox.dropped)
        self.outbox.succeeded(notices, dropped, time.time())
        self._log.info(
            "alerts delivered", count=len(notices), status=answer.status, took_ms=round(answer.took_s * 1000)
        )

    def publish(self) -> None:
        """The process's own part of the board, when it changed."""
        outbox = self.outbox
        document: WebhookSection = {
            "to": str(self._url) if self._url is not None else "",
            "form": self._parts.webhook.form,
            "delivered": outbox.delivered,
            "failed": outbox.failed,
            "dropped": outbox.dropped,
            "waiting": len(outbox.waiting),
            "delivered_at": outbox.delivered_at,
            "error": self._wrong or outbox.error,
            "told": [
                {"name": one.name, "subject": one.subject, "what": one.what, "cure": one.cure, "since": one.since}
                for one in outbox.told.values()
            ],
            "hardening": self._hardening,
        }
        self._parts.board.section("webhook").publish(document)
