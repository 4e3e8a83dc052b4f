"""A status board that says what a test wants it to say."""

from collections.abc import Mapping
from copy import deepcopy

from cometkms.api.watch import Watch
from cometkms.board.sections import Sections, SignerSection, StateSection, SupervisorSection
from cometkms.config.schema import AlertBounds

NOW = 1_800_000_000.0
KEY = bytes(range(32))

STATE: StateSection = {
    "node_id": "node0",
    "is_leader": True,
    "leader_id": "node0",
    "leader_addr": "127.0.0.1:9430",
    "epoch": 1,
    "members": [
        {"id": "node0", "addr": "127.0.0.1:9430", "self": True, "connected": True, "state": "complete", "marks": []}
    ],
    "rows": [
        {
            "chain_id": "chain-a",
            "public_key": KEY.hex(),
            "watermark": {"height": 12, "round": 1, "step": 3, "burnt": False},
            "last_sign_state": {
                "height": 12,
                "round": 1,
                "step": 2,
                "signature": "c2lnbmF0dXJl",
                "signbytes": "0a0b",
            },
        },
        {
            "chain_id": "chain-b",
            "public_key": KEY[::-1].hex(),
            "watermark": {"height": 0, "round": 0, "step": 0, "burnt": False},
            "last_sign_state": None,
        },
    ],
    "warnings": ["strict_start is off"],
    "fdatasync_us": {"p50": 90.0, "p99": 200.0, "max": 900.0, "count": 3},
}

SIGNER: SignerSection = {
    "core": "native",
    "chains": [
        {
            "chain_id": "chain-b",
            "public_key": KEY[::-1].hex(),
            "address": "bb" * 20,
            "validators": [],
            "last_signed_at": None,
        },
        {
            "chain_id": "chain-a",
            "public_key": KEY.hex(),
            "address": "aa" * 20,
            "validators": [
                {
                    "addr": "tcp://127.0.0.1:26658",
                    "state": "connected",
                    "since": NOW - 5,
                    "dialect": "proto",
                    "remote_identity": "cc" * 32,
                    "requests": 9,
                    "connects": 1,
                    "last_error": "",
                }
            ],
            "counters": {"signed": 7, "repeated": 1, "unanswered": {}, "refused": {"CONFLICT": 1}},
            "latency_us": {"count": 7, "p50": 210.0, "p90": 260.0, "p99": 400.0, "max": 901.0},
            "last_signed_at": NOW - 1,
        },
    ],
}

SUPERVISOR: SupervisorSection = {
    "version": "0.1.0",
    "pid": 100,
    "home": "/home/validator/.cmkms",
    "started_at": NOW - 60,
    "children": [
        {
            "name": name,
            "pid": 101 + i,
            "state": "running",
            "started_at": NOW - 59,
            "restarts": 0,
            "last_exit": None,
        }
        for i, name in enumerate(("state", "signer", "api"))
    ],
}


class Told:
    """A log that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def error(self, event: str, **fields: object) -> None:
        self.lines.append(("error", event, fields))


class FakeBoard:
    """`sections_now` and `ages` are there to be changed."""

    def __init__(self) -> None:
        self.sections_now: Sections = deepcopy({"state": STATE, "signer": SIGNER, "supervisor": SUPERVISOR})
        self.now = NOW
        self.log = Told()
        self.writes = 2
        self.ages: dict[str, float | None] = {"state": 0.01, "signer": 0.02, "api": 0.0}

    def sections(self) -> Sections:
        return self.sections_now

    def watch(self) -> Watch:
        """A watch over it that has not looked yet, its clock standing still."""
        return Watch(self, AlertBounds(), self.log, wall_clock=lambda: self.now, clock=lambda: self.now)

    def written(self) -> tuple[int, ...]:
        return (self.writes,)

    def beat_ages_s(self) -> Mapping[str, float | None]:
        return self.ages
