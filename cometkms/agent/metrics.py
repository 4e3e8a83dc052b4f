"""The agent's metrics, as text: one answer to whatever asks, made without a library and without
looking at the question.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from cometkms.address import Address
from cometkms.agent.asking import Counters
from cometkms.errors import BusyError, os_words

_QUESTION_MAX_BYTES: Final = 8 << 10
_DEADLINE_S: Final = 2.0
_AT_ONCE_MAX: Final = 8
_HEAD: Final = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: close\r\nContent-Length: "
)

#: name, type, help
_FAMILIES: Final = (
    ("cometkms_agent_start_time_seconds", "gauge", "When the agent started, UNIX seconds."),
    ("cometkms_agent_node_up", "gauge", "Whether the link to a node stands."),
    ("cometkms_agent_node_round_trip_seconds", "gauge", "Round trip of the last ping."),
    ("cometkms_agent_node_connects_total", "counter", "Links made."),
    ("cometkms_agent_node_patience_seconds", "gauge", "Silence that is borne before another node is asked."),
    ("cometkms_agent_validator_connected", "gauge", "Whether the validator is connected."),
    ("cometkms_agent_validator_connects_total", "counter", "Connections made to the validator."),
    ("cometkms_agent_requests_total", "counter", "Requests for a signature."),
    ("cometkms_agent_answers_total", "counter", "What the validator was answered."),
    ("cometkms_agent_again_total", "counter", "Further tries of a request, by what made them necessary."),
    ("cometkms_agent_wrong_answers_total", "counter", "Answers of nodes that did not verify; never passed on."),
    ("cometkms_agent_late_answers_total", "counter", "Answers to requests that were over."),
    ("cometkms_agent_slowest_answer_seconds", "gauge", "The slowest answer since the start."),
)


def text_of(report: Mapping[str, Any]) -> str:
    """The exposition format 0.0.4 of a report of process.Agent. Pure."""
    found: dict[str, list[str]] = {name: [] for name, _, _ in _FAMILIES}

    def add(name: str, value: float, **labels: str) -> None:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        found[name].append(f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:.17g}")

    add("cometkms_agent_start_time_seconds", report["started_at"])
    add("cometkms_agent_late_answers_total", report["late"])
    for name, node in report["nodes"].items():
        add("cometkms_agent_node_up", node["up"], node=name)
        add("cometkms_agent_node_round_trip_seconds", node["round_trip_s"], node=name)
        add("cometkms_agent_node_connects_total", node["connects"], node=name)
        add("cometkms_agent_node_patience_seconds", node["patience_s"], node=name)
    for one in report["validators"]:
        labels = {"chain_id": one["chain_id"], "validator": one["addr"]}
        counters: Counters = one["counters"]
        add("cometkms_agent_validator_connected", one["connected"], **labels)
        add("cometkms_agent_validator_connects_total", one["connects"], **labels)
        add("cometkms_agent_requests_total", counters.requests, **labels)
        for outcome in ("signed", "refused", "empty"):
            add("cometkms_agent_answers_total", getattr(counters, outcome), **labels, outcome=outcome)
        for why in ("silence", "not_now", "gone", "wrong"):
            add("cometkms_agent_again_total", counters.again.get(why, 0), **labels, why=why)
        add("cometkms_agent_wrong_answers_total", counters.wrong, **labels)
        add("cometkms_agent_slowest_answer_seconds", one["slowest_s"], **labels)
    lines = []
    for name, kind, words in _FAMILIES:
        lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *found[name]]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


async def serve_metrics(address: Address, report: Callable[[], Mapping[str, Any]]) -> asyncio.Server:
    """Listen, and answer everybody alike. Raises: BusyError."""
    at_once = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once
        at_once += 1
        try:
            if at_once > _AT_ONCE_MAX:
                return
            async with asyncio.timeout(_DEADLINE_S):
                await reader.readuntil(b"\r\n\r\n")
                body = text_of(report()).encode()
                writer.write(f"{_HEAD}{len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks wrongly gets no answer
        finally:
            at_once -= 1
            writer.close()

    try:
        return await asyncio.start_server(serve, address.host or None, address.port, limit=_QUESTION_MAX_BYTES)
    except OSError as error:
        raise BusyError(
            f"metrics_addr {address} cannot be listened on: {os_words(error)}", cure="a free port"
        ) from error
