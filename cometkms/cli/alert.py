"""`cmkms alert`"""

import asyncio
import socket
import time

import click

from cometkms.address import Address
from cometkms.cli.options import CommandGroup, home_option, load_home
from cometkms.cli.output import say, show_json
from cometkms.config.load import unknown_variables
from cometkms.config.webhook import WebhookUrl
from cometkms.errors import ConfigError
from cometkms.net.dial import connect
from cometkms.webhook.message import trial_body
from cometkms.webhook.post import Answer, load_authorities, post


@click.group("alert", cls=CommandGroup)
def command() -> None:
    """Sending alerts to a webhook. Which are raised now: `cmkms status`."""


@command.command("test")
@home_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def test(home: str | None, as_json: bool) -> None:  # noqa: ARG001
    """Send a test to the address of this home's settings, and say what came back.

    Exit code 1 if the receiver did not take it.

    The node need not run. It goes the way of the node's own notices (name, TLS, certificate,
    answer), but from this command's process: what a running node last delivered is in `cmkms status
    --json`, `webhook`.

    \b
    Example:
      cmkms alert test
    """
    settings = load_home()
    for words in unknown_variables():
        say(f"WARNING   {words}", err=True)
    if settings.webhook is None:
        raise ConfigError(
            "no webhook is configured, so alerts are sent nowhere",
            cure="alert_webhook_file, alert_webhook_credential or alert_webhook in config.toml",
        )
    url = settings.webhook.source.read()
    body = trial_body(settings.webhook.form, settings.id, time.time())
    answer = asyncio.run(_post(url, body))
    if as_json:
        told = {"to": str(url), "form": settings.webhook.form, "status": answer.status, "words": answer.words}
        show_json({**told, "took_ms": round(answer.took_s * 1000)})
        return
    words = f", {answer.words!r}" if answer.words else ""
    say(f"{url} took it ({settings.webhook.form}): HTTP {answer.status}{words}, {answer.took_s * 1000:.0f} ms")


async def _post(url: WebhookUrl, body: bytes) -> Answer:
    async def dial() -> socket.socket:
        return await connect(Address(url.host, url.port))

    return await post(url, body, dial, load_authorities() if url.encrypted else None)
