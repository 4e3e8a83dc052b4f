"""`cmkms audit`"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import click

from cometkms.audit.files import Report, directory_of, files_in, lines_of, verify
from cometkms.audit.lines import DECISIONS, NO_HASH, OF_BYTES, Line
from cometkms.cli.options import CommandGroup, home_option, load_home, one_of
from cometkms.cli.output import say, show_json
from cometkms.cli.running import node_id_option
from cometkms.errors import OTHER_USER_CURE, OperatorError, cure_of_file, said

_TAIL_MAX: Final = 100_000
_EXPECTED = re.compile(r"(\d{1,20}):([0-9a-f]{64})\Z")
_OUTCOMES: Final = (*DECISIONS, *OF_BYTES)
_EXIT_CODES: Final = """\b
Exit codes of verify:
  0  every line follows from the line before it
  1  something does not: it says the file, the line, and what
  2  wrong usage, or there is no log to read"""

_NONE_CURE: Final = (
    "the --home, --id or --dir of a node that writes one; it is kept unless audit_max_mib = 0. Where it was there and "
    "is gone, docs/RUNBOOK.md, audit_failing"
)


class _NoLogError(OperatorError):
    """There is no log to read: told apart from one that is not whole, which ends with 1."""

    exit_code: ClassVar[int] = 2


def _directory_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--dir", "directory", type=click.Path(path_type=Path), metavar="DIR", help="Another audit directory: a copy."
    )(function)


@click.group("audit", cls=CommandGroup, epilog=_EXIT_CODES)
def command() -> None:
    """What was signed, refused and not answered, and whether the record of it is whole.

    Reads files only: the node may run.
    """


@command.command("verify", epilog=_EXIT_CODES)
@home_option
@node_id_option
@_directory_option
@click.option("--expect", "expected", multiple=True, metavar="SEQ:HASH",
              help="A head that was noted down earlier: it must be in this log (repeatable).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verify_command(
    home: str | None,  # noqa: ARG001 - kept in the context by the option's callback
    node_id: str | None,
    directory: Path | None,
    expected: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check every line of every file, and that no place has two signatures.

    Works on a running node and on copied files.

    What it prints as head, noted down elsewhere, is what --expect holds a later log against:
    nothing else shows that lines were cut off at the end.

    \b
    Examples:
      cmkms audit verify
      cmkms audit verify --dir /backup/node0/audit
      cmkms audit verify --expect 5120:30c00662b71a5c6495a5d19814f5fb342975f554e954a776735366255223b1da
    """
    found = _chosen(directory, node_id)
    wanted = {}
    for text in expected:
        match = _EXPECTED.match(text)
        if match is None:
            raise click.UsageError(f"{text!r} is no head; write it as verify prints it, SEQ:HASH")
        wanted[int(match[1])] = match[2]
    try:
        report = verify(found, wanted)
    except OSError as error:
        raise _unread(error, found) from error
    if as_json:
        show_json(_document(report))
    else:
        for line in _words(report):
            say(line)
    return 0 if report.whole else 1


@command.command("show")
@home_option
@node_id_option
@_directory_option
@click.option("--height", type=click.IntRange(0), metavar="H", help="At this height only.")
@click.option("--chain", metavar="ID", help="Of this chain only.")
@click.option(
    "--outcome", type=click.Choice(_OUTCOMES), shell_complete=one_of(_OUTCOMES), help="With this outcome only."
)
@click.option("--tail", type=click.IntRange(1, _TAIL_MAX), metavar="N", help="The last N only.")
@click.option("--json", "as_json", is_flag=True, help="The log's own lines.")
def show(
    home: str | None,  # noqa: ARG001
    node_id: str | None,
    directory: Path | None,
    height: int | None,
    chain: str | None,
    outcome: str | None,
    tail: int | None,
    as_json: bool,
) -> None:
    """Show decisions, oldest first; without a filter the log's own lines too.

    Nothing is verified here.

    \b
    Examples:
      cmkms audit show --height 5120
      cmkms audit show --outcome refused --tail 20
      cmkms audit show --chain my-chain-1 --json
    """
    found = _chosen(directory, node_id)
    wanted = _filter(height, chain, outcome)
    lines: Iterator[Line] | deque[Line] = _lines(found, height, wanted)
    line = None
    for line in lines if tail is None else deque(lines, tail):
        click.echo(json.dumps(dict(line.fields), separators=(",", ":")) if as_json else _row(line))
    if line is None:
        say(f"nothing of the kind is in {found}", err=True)


def _chosen(directory: Path | None, node_id: str | None) -> Path:
    if directory is None:
        settings = load_home(node_id=node_id)
        directory = directory_of(settings.home, settings.id)
    try:
        if files_in(directory):
            return directory
        raise _NoLogError(f"{directory} holds no file of an audit log", cure=_NONE_CURE)
    except FileNotFoundError as error:
        raise _NoLogError(f"{directory}: {said(error)}; there is no audit log", cure=_NONE_CURE) from error
    except OSError as error:
        raise _unread(error, directory) from error


def _unread(error: OSError, directory: Path) -> "_NoLogError":
    cure = cure_of_file(error, OTHER_USER_CURE)
    return _NoLogError(f"{error.filename or directory} cannot be read: {said(error)}", cure=cure)


def _filter(height: int | None, chain: str | None, outcome: str | None) -> Callable[[Line], bool]:
    def wanted(line: Line) -> bool:
        fields = line.fields
        return (
            (height is None or fields.get("height") == height)
            and (chain is None or fields.get("chain") == chain)
            and (outcome is None or line.what == outcome)
        )

    return wanted


def _lines(directory: Path, height: int | None, wanted: Callable[[Line], bool]) -> Iterator[Line]:
    """Raises: OperatorError where they cannot be read."""
    # cheaper than to parse all of them
    needle = b"" if height is None else b'"height":%d,' % height
    try:
        for path in files_in(directory):
            yield from filter(wanted, lines_of(path, lambda text: needle in text))
    except OSError as error:
        raise _unread(error, directory) from error


def _row(line: Line) -> str:
    fields, what = line.fields, line.what
    head = f"{line.seq:>8}  {fields['at'][:23].replace('T', ' ')}  {what:<10}"
    if what in OF_BYTES:
        why = f"  {fields['reason']}" if fields["reason"] else ""
        unique_id = f"  unique id {fields['unique_id']}" if fields["unique_id"] else ""
        hashes = f"{fields['length']} bytes {fields['bytes'][:16]}{unique_id}"
        return f"{head} {_shown(fields['chain'])}{why}  {hashes}  {_shown(fields['validator'])}"
    if what not in DECISIONS:
        told = [
            f"{key} {_shown(fields[key])}"
            for key in fields
            if key not in ("seq", "at", "what", "prev", "hash") and fields[key] not in ("", 0)
        ]
        return f"{head} {', '.join(told)}".rstrip()
    place = f"{fields['height']}/{fields['round']}/{fields['step']}"
    reason = f"  {fields['reason']}" if fields["reason"] else ""
    hashes = f"bytes {fields['bytes'][:16] or '-'}  block {fields['block'][:16] or '-'}"
    return f"{head} {_shown(fields['chain'])}  {place}{reason}  {hashes}  {_shown(fields['validator'])}"


def _shown(value: object) -> str:
    """One line stays one line."""
    text = str(value)
    return text if text.isprintable() else json.dumps(text)


def _words(report: Report) -> list[str]:
    walk = report.walk
    count = walk.counts
    lines = [
        f"files     {len(report.files)}, {report.lines} lines, node {_shown(walk.node) or 'unknown'}",
        f"from      {walk.first_at or '-'}, seq {walk.first_seq}",
        f"to        {walk.last_at or '-'}, seq {walk.seq}",
        "decisions " + ", ".join(f"{count[what]} {what}" for what in _OUTCOMES if what in DECISIONS or count[what]),
    ]
    lines += [f"note      {text}" for text in notes_of(report)]
    lines += [f"BROKEN    {one}" for one in report.broken]
    lines += [f"ALARM     {text}" for text in report.alarms]
    lines.append(f"head      {walk.seq}:{walk.head}")
    lines.append("whole" if report.whole else "NOT WHOLE")
    return lines


def notes_of(report: Report) -> list[str]:
    """What is as it may be, and should be known."""
    walk, notes = report.walk, list(report.notes)
    if walk.first_seq > 1:
        notes.append(
            f"{walk.first_seq - 1} lines before seq {walk.first_seq} are gone by rotation; the last of them had the hash {walk.first_prev}"
        )
    if walk.dropped:
        notes.append(f"{walk.dropped} decisions are missing: the `dropped` lines say where and why")
    if walk.unclean:
        notes.append(
            f"a writer ended {walk.unclean} times without a word: the last second before may be missing (power), or less"
        )
    if walk.halves:
        notes.append(f"{walk.halves} half lines of writers that were killed, each told by the next line")
    if walk.counts["unsynced"]:
        notes.append(f"{walk.counts['unsynced']} times a sync failed: the `unsynced` lines say when")
    return notes


def _document(report: Report) -> dict[str, Any]:
    walk = report.walk
    return {
        "whole": report.whole,
        "node": walk.node,
        "files": report.files,
        "lines": report.lines,
        "first": {
            "seq": walk.first_seq,
            "at": walk.first_at,
            "prev": None if walk.first_prev == NO_HASH else walk.first_prev,
        },
        "head": f"{walk.seq}:{walk.head}",
        "decisions": {what: walk.counts[what] for what in _OUTCOMES},
        "dropped": walk.dropped,
        "notes": notes_of(report),
        "broken": [{"file": one.file, "line": one.line, "seq": one.seq, "why": one.why} for one in report.broken],
        "alarms": report.alarms,
    }
