"""What a running node says of itself: its processes, how they ended before, its protections, its
alerts. Pure over its answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cometkms.board.sections import ChildState
from cometkms.errors import (
    INTERNAL_EXIT,
    BehindError,
    BusyError,
    ConfigError,
    KeyFileError,
    StateError,
    StoreFailure,
    SupersededError,
)
from cometkms.operator.doctor.finding import Finding, apart, fail, note, ok, warn

PROCESSES: Final = "processes"
HARDENING: Final = "hardening"
ALERTS: Final = "alerts"
_EXITS: Final = {
    str(code): words
    for code, words in (
        (ConfigError.exit_code, "a setting is wrong"),
        (KeyFileError.exit_code, "a key file is wrong"),
        (StateError.exit_code, "the promise store or a state file"),
        (BusyError.exit_code, "home or address in use"),
        (StoreFailure.exit_code, "a write or sync failed"),
        (BehindError.exit_code, "its store was behind: it reads the others"),
        (SupersededError.exit_code, "another machine stands for this member"),
        (INTERNAL_EXIT, "a bug"),
    )
}
#: A process that has run for so long since it was started again is no trouble any more.
CALM_S: Final = 3600.0
_CURE: Final = "its log says why (journalctl, or where the output goes)"


def judge_children(children: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Each process, and the last exit of one that was started again."""
    found = []
    for child in children:
        name, state = child.get("name"), child.get("state")
        exit_words = _exit_words(child.get("last_exit"))
        if state != ChildState.RUNNING:
            found.append(fail(PROCESSES, *apart(f"{name} is {state}{exit_words}", _CURE)))
        elif restarts := child.get("restarts"):
            times = "once" if restarts == 1 else f"{restarts} times"
            words, cure = apart(f"{name} runs, and was started again {times}{exit_words}", _CURE)
            up_s = child.get("uptime_s")
            calm = isinstance(up_s, int | float) and up_s >= CALM_S
            found.append(note(PROCESSES, words) if calm else warn(PROCESSES, words, cure))
        else:
            found.append(ok(PROCESSES, f"{name} runs (pid {child.get('pid')}){exit_words}"))
    return found or [note(PROCESSES, "the running node does not tell its processes")]


def _exit_words(last_exit: object) -> str:
    if not last_exit:
        return ""
    code, colon, why = str(last_exit).partition(":")
    meaning = _EXITS.get(code.removeprefix("exit code "))
    return f"; its last exit: {code}{f' ({meaning})' if meaning else ''}{colon}{why}"


def judge_hardening(entries: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """The protections that each process checked at its start."""
    on = [f"{one.get('process')} {one.get('measure')}" for one in entries if one.get("state") == "on"]
    found = [ok(HARDENING, f"on: {', '.join(on)}")] if on else []
    for one in entries:
        words = f"{one.get('process')} {one.get('measure')} is {one.get('state')}: {one.get('why')}"
        if one.get("state") == "off":
            found.append(warn(HARDENING, words, "docs/HARDENING.md"))
        elif one.get("state") != "on":
            found.append(note(HARDENING, words))
    return found


def judge_trouble(status: Mapping[str, Any]) -> list[Finding]:
    """What the node itself says is wrong now, and its alerts with their cures."""
    found = [fail("node", *apart(str(words), "see the findings below")) for words in status.get("trouble") or []]
    found += [warn("node", *apart(str(words), "the node's log has more")) for words in status.get("warnings") or []]
    for alert in status.get("alerts") or []:
        if isinstance(alert, Mapping):
            told = f"{alert.get('name')}: {alert.get('what')}"
            found.append(warn(ALERTS, *apart(told, str(alert.get("cure") or "docs/RUNBOOK.md"))))
    if not found:
        situation = status.get("situation")
        leads = "and leads" if status.get("is_leader") else f"and {status.get('leader_id')} leads"
        headline = f": {situation.get('headline')}" if isinstance(situation, Mapping) else ""
        found.append(ok("node", f"it runs, is healthy, {leads}{headline}"))
    return found


def judge_audit(status: Mapping[str, Any]) -> list[Finding]:
    """The audit log, where the node keeps one."""
    audit = status.get("audit")
    if not isinstance(audit, Mapping):
        return []
    if audit.get("error") or audit.get("dropped"):
        told = f"{audit.get('dropped', 0)} records were dropped; {audit.get('error') or 'no error now'}"
        return [warn("audit", *apart(told, "docs/AUDIT.md"))]
    return [ok("audit", f"{audit.get('records', 0)} records")]


def judge_webhook(status: Mapping[str, Any]) -> list[Finding]:
    """Whether alerts arrive, where they are sent somewhere."""
    webhook = status.get("webhook")
    if not isinstance(webhook, Mapping):
        return []
    if error := webhook.get("error"):
        return [warn("webhook", *apart(f"alerts are not delivered: {error}", "cmkms alert test"))]
    if not webhook.get("delivered"):
        return [note("webhook", f"{webhook.get('to')} was sent no alert yet; `cmkms alert test` tries it")]
    return [ok("webhook", f"{webhook.get('to')} took {webhook.get('delivered')} notices of alerts")]
