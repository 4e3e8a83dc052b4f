"""Ask a CometBFT node's RPC over plain HTTP: bounded answers, a deadline for each, GET only. What
an answer means is not known here."""

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from cometkms.address import Address, bracketed
from cometkms.errors import ConfigError, OperatorError, said
from cometkms.limits import RPC_ANSWER_MAX_BYTES, RPC_TIMEOUT_S
from cometkms.net.http_get import get


@dataclass(frozen=True, slots=True)
class RpcAddress(Address):
    """Where a node serves its RPC. The prefix stands before every path, for an RPC behind a
    proxy."""

    prefix: str

    def __str__(self) -> str:
        return f"http://{bracketed(self.host)}:{self.port}{self.prefix}"


@dataclass(frozen=True, slots=True)
class RpcAnswer:
    """`result` is the node's word, not checked. `date`: its Date header. `asked_at`, `took_s`: our
    clock (UNIX) and how long it took."""

    result: dict[str, Any]
    date: str
    asked_at: float
    took_s: float


def parse_rpc(text: str) -> RpcAddress:
    """`http://HOST:PORT`, `tcp://HOST:PORT` or `HOST:PORT`. Raises: ConfigError."""
    whole = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname, parts.port or 26657
    except ValueError as error:
        raise ConfigError(f"--rpc {text!r}: {error}", cure="http://HOST:PORT of a CometBFT node's RPC") from error
    if parts.scheme == "https":
        raise ConfigError(f"--rpc {text!r}: only http:// is spoken", cure="the node's own RPC port, or a tunnel to it")
    if parts.scheme not in ("http", "tcp") or not host or parts.query or parts.fragment or parts.username:
        raise ConfigError(f"--rpc {text!r} is no address", cure="http://HOST:PORT of a CometBFT node's RPC")
    return RpcAddress(host, port, parts.path.rstrip("/"))


def ask_rpc(address: RpcAddress, method: str, timeout_s: float = RPC_TIMEOUT_S, **arguments: object) -> RpcAnswer:
    """One call. Raises: OperatorError, with what the node says where it says something."""
    query = "&".join(f"{key}={quote(str(value))}" for key, value in arguments.items())
    path = f"{quote(address.prefix)}/{method}{'?' if query else ''}{query}"
    asked_at, started = time.time(), time.monotonic()
    try:
        status, date, body = get(address.host, address.port, path, timeout_s, RPC_ANSWER_MAX_BYTES)
    except TimeoutError as error:
        raise OperatorError(
            f"{address}/{method}: no whole answer within {timeout_s:g} s", cure="another --rpc"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise OperatorError(
            f"{address}/{method}: {said(error)}", cure="the address of a CometBFT node's RPC that runs"
        ) from error
    took_s = time.monotonic() - started
    return RpcAnswer(_result(body, status, f"{address}/{method}"), date, asked_at, took_s)


def _result(body: bytes, status: int, where: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and isinstance(document.get("error"), dict):
        told = document["error"]
        words = f"{told.get('message', '')} {told.get('data', '')}".strip()
        raise OperatorError(f"{where}: the node says: {words[:300]!r}")
    result = document.get("result") if isinstance(document, dict) else None
    if not isinstance(result, dict):
        raise OperatorError(
            f"{where}: this is no CometBFT RPC (HTTP {status})", cure="the address in the node's [rpc] laddr"
        )
    return result
