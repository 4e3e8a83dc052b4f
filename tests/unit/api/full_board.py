"""A status board that says everything it can say: of three nodes, node0 leads; two chains, of which
one has not begun.
"""

from copy import deepcopy
from typing import Any

from .boards import KEY, NOW, FakeBoard


def histogram(*counts: int, sum_us: float = 1234.5) -> dict[str, Any]:
    """`counts`: how many at most 100, 1000 and 10,000 us, and all of them."""
    *below, count = counts
    return {
        "count": count,
        "sum_us": sum_us,
        "buckets": [list(pair) for pair in zip((100, 1000, 10_000), below, strict=True)],
    }


STATE: dict[str, Any] = {
    "node_id": "node0",
    "is_leader": True,
    "leader_id": "node0",
    "leader_addr": "10.0.0.10:9430",
    "epoch": 2,
    "digest": "ab" * 32,
    "node_state": "complete",
    "why": "",
    "term": 17,
    "lease_left_s": 0.85,
    "leader_changes": 3,
    "proposed_without_lead": 5,
    "handovers": {"signer_silent": 2},
    "seq": 4711,
    "ring_depth": {"requests": 1, "permits": 0},
    "refused": {"conflict": 2, "not_leader": 1},
    "peers_port": {"accepted": 9, "strangers": 4},
    "fast_path": {"permitted": 4000, "answered": 12},
    "sync_hist": histogram(10, 90, 99, 100),
    "permit_hist": histogram(0, 80, 98, 99),
    "fdatasync_us": {"count": 100, "p50": 90.0, "p90": 100.0, "p99": 200.0, "max": 900.0},
    "permit_us": {"count": 99, "p50": 90.0, "p90": 100.0, "p99": 200.0, "max": 900.0},
    "members": [
        {"id": "node0", "self": True, "connected": True, "state": "complete", "seq": 4711},
        {
            "id": "node1",
            "self": False,
            "connected": True,
            "state": "complete",
            "seq": 4710,
            "version": "0.1.0",
            "connects": 2,
            "rtt_us": 480,
            "last_contact": NOW - 0.25,
            "behind": {"promises": 0, "heights": {"chain-a": 0, "chain-b": 0}},
        },
        {
            "id": "node2",
            "self": False,
            "connected": False,
            "state": "recovering",
            "seq": 4000,
            "version": "0.2.0",
            "connects": 5,
            "rtt_us": 900,
            "last_contact": NOW - 90,
            "behind": {"promises": 711, "heights": {"chain-a": 237, "chain-b": 0}},
        },
    ],
    "rows": [
        {
            "chain_id": "chain-a",
            "public_key": KEY.hex(),
            "watermark": {"height": 1002, "round": 0, "step": 2, "burnt": False},
            "last_sign_state": {"height": 1002, "round": 0, "step": 1, "signature": "c2ln", "signbytes": "0A"},
            "signed_at": NOW - 2,
        },
        {
            "chain_id": "chain-b",
            "public_key": KEY[::-1].hex(),
            "watermark": {"height": 9, "round": 1, "step": 3, "burnt": True},
            "last_sign_state": None,
            "signed_at": None,
        },
    ],
    "events": [{"at": NOW - 60, "what": "started"}],
    "warnings": [],
}

SIGNER: dict[str, Any] = {
    "core": "native",
    "agents": {
        "door": {"admitted": 2, "unlisted": 4, "failed": 0, "timed_out": 1, "pushed_out": 0},
        "links": [
            {
                "name": "agent:sentry-a",
                "requests": 7,
                "without_lead": 2,
                "about": {"host": "sentry-a.example.org", "links": "node0 0.31 ms"},
            }
        ],
    },
    "hardening": [
        {"process": "signer", "measure": "no_new_privs", "state": "on", "why": ""},
        {"process": "signer", "measure": "landlock", "state": "unavailable", "why": "this kernel has none"},
    ],
    "chains": [
        {
            "chain_id": "chain-a",
            "public_key": KEY.hex(),
            "address": "aa" * 20,
            "validators": [
                {
                    "addr": "tcp://10.0.0.1:26658",
                    "state": "connected",
                    "since": NOW - 5,
                    "dialect": "proto",
                    "line": "v1",
                    "remote_identity": "cc" * 32,
                    "requests": 3010,
                    "connects": 1,
                    "failed": 4,
                    "failed_in_row": 0,
                    "last_error": "",
                },
                {
                    "addr": "unix:///run/validator.sock",
                    "state": "waiting",
                    "since": NOW - 5,
                    "dialect": None,
                    "line": None,
                    "remote_identity": "",
                    "requests": 0,
                    "connects": 0,
                    "failed": 61,
                    "failed_in_row": 61,
                    "last_error": "no such file or directory",
                },
            ],
            "counters": {
                "signed": 3003,
                "repeated": 5,
                "refused": {"conflict": 1, "wrong_chain": 2, "a reason of tomorrow": 3, "another": 4},
                "unanswered": {"no_permit": 6},
                "pub_keys": 7,
                "signed_values": 11,
                "signed_raw": {"fiber-commitment": 12},
            },
            "votes": {
                "proposal": {"signed": 3, "height": 1000, "round": 1, "at": NOW - 4, "missed": 900, "missed_last": 8},
                "prevote": {"signed": 1500, "height": 1002, "round": 0, "at": NOW - 2, "missed": 2, "missed_last": 1},
                "precommit": {"signed": 1500, "height": 1001, "round": 2, "at": NOW - 3, "missed": 4, "missed_last": 0},
            },
            "missed": {"unanswered": 1, "validator_away": 3, "not_asked": 0},
            "latency_us": {"count": 3003, "p50": 500.0, "p90": 600.0, "p99": 700.0, "max": 9000.0},
            "latency_hist": histogram(0, 3000, 3003, 3003),
            "last_signed_at": NOW - 1.5,
        },
        {
            "chain_id": "chain-b",
            "public_key": KEY[::-1].hex(),
            "address": "bb" * 20,
            "validators": [],
            "counters": {"signed": 0, "repeated": 0, "refused": {}, "unanswered": {}, "pub_keys": 0},
            "votes": {
                kind: {"signed": 0, "height": 0, "round": 0, "at": None, "missed": 0, "missed_last": 0}
                for kind in ("proposal", "prevote", "precommit")
            },
            "missed": {"unanswered": 0, "validator_away": 0, "not_asked": 0},
            "latency_us": {"count": 0, "p50": 0, "p90": 0, "p99": 0, "max": 0},
            "latency_hist": histogram(0, 0, 0, 0, sum_us=0.0),
            "last_signed_at": None,
        },
    ],
}

SUPERVISOR: dict[str, Any] = {
    "use": {name: {"cpu_s": 50.5, "resident_bytes": 101 * 4096} for name in ("state", "signer", "api", "audit")},
    "version": "0.1.0",
    "pid": 100,
    "home": "/home/validator/.cmkms",
    "started_at": NOW - 60,
    "hardening": [{"process": "supervisor", "measure": "no_new_privs", "state": "on", "why": ""}],
    "children": [
        {
            "name": name,
            "pid": 101 + number,
            "state": "running",
            "started_at": NOW - 59,
            "restarts": number,
            "last_exit": None,
        }
        for number, name in enumerate(("state", "signer", "api", "audit"))
    ],
}

AUDIT: dict[str, Any] = {"records": 3020, "dropped": 0, "bytes": 900_000, "file": "audit.log", "error": ""}

WEBHOOK: dict[str, Any] = {
    "to": "https://hooks.example.com", "form": "slack", "delivered": 7, "failed": 2, "dropped": 1, "waiting": 3, "delivered_at": NOW - 5,
    "error": "", "told": [{"name": "peer_away", "subject": "node2", "since": NOW - 5, "what": "w", "cure": "c"}],
    "hardening": [{"process": "caller", "measure": "no_new_privs", "state": "on", "why": ""}],
}  # fmt: skip

API: dict[str, Any] = {
    "hardening": [{"process": "api", "measure": "no_new_privs", "state": "off", "why": "told so"}],
}


class FullBoard(FakeBoard):
    """`sections_now` and `ages` are there to be changed."""

    def __init__(self) -> None:
        super().__init__()
        self.sections_now: Any = deepcopy(
            {
                "state": STATE,
                "signer": SIGNER,
                "supervisor": SUPERVISOR,
                "audit": AUDIT,
                "api": API,
                "webhook": WEBHOOK,
                "reload": None,
            }
        )
        self.ages = {"state": 0.01, "signer": 0.02, "api": 0.0, "audit": 0.1}
