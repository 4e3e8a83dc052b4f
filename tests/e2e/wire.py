"""Raw material for wire tests: a whole node whose validators are sockets of ours."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

from cometkms.core.interface import Core
from cometkms.limits import HANDSHAKE_TIMEOUT_S, PARTIAL_MESSAGE_TIMEOUT_S
from cometkms.model import BlockID, Dialect, Kind, Message, SignedType
from cometkms.operator.standin import Judge, Link, Listener, block_of, proposal_request, vote_request
from tests.e2e.node import PATIENCE_S, environment, fetch, free_port, get, make_home, until

CHAIN = "wire-1"
# what waits for a deadline comes too late for it
AT_ONCE_S = 0.8 * min(HANDSHAKE_TIMEOUT_S, PARTIAL_MESSAGE_TIMEOUT_S)


def listening_socket(address: str) -> socket.socket:
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.bind(rest)
        made.listen(16)
    else:
        host, _, port = rest.rpartition(":")
        made = socket.create_server((host, int(port)), backlog=16)
    made.setblocking(False)
    return made


class WireNode:
    """`cmkms start` on throw-away keys; each of `sockets` is the listening socket of one validator
    address. `arguments`: more of its flags.
    """

    def __init__(self, home: Path, addresses: list[str], *arguments: str) -> None:
        self.home = home
        self.addresses = addresses
        self.sockets = {address: listening_socket(address) for address in addresses}
        self.http_port = free_port()
        self.log = home.with_suffix(".log")
        self.height = 100
        validators = [part for address in addresses for part in ("--validator-addr", address)]
        make_home("init", "--home", str(home), "--new-key", "--chain-id", CHAIN, *validators)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-m",
                        "cometkms",
                        "start",
                        "--home",
                        str(home),
                        "--id",
                        "wire",
                        "--log-level",
                        "debug",
                    ),
                    *("--http-addr", f"127.0.0.1:{self.http_port}", "--raft-addr", f"127.0.0.1:{free_port()}"),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(),
            )
        try:
            self.wait_until_healthy()
        except BaseException:
            self.stop()
            raise

    def get(self, path: str) -> tuple[int, bytes]:
        """Once it answers."""
        code, text = fetch(f"http://127.0.0.1:{self.http_port}{path}")
        return code, text.encode()

    def wait_until_healthy(self) -> None:
        def healthy() -> bool:
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            with contextlib.suppress(OSError):
                return get(f"http://127.0.0.1:{self.http_port}/healthz")[0] == 200
            return False

        until(lambda: f"it is healthy\n{self.log.read_text(errors='replace')}", healthy)

    def status(self) -> dict:
        return json.loads(self.get("/status")[1])

    def pids(self) -> dict[str, tuple[int, int]]:
        """Children by name; a restart would show as another pid or count."""
        return {child["name"]: (child["pid"], child["restarts"]) for child in self.status()["children"]}

    def next_height(self) -> int:
        self.height += 1
        return self.height

    def listener(self, core: Core, address: str, dialect: Dialect = Dialect.PROTO) -> Listener:
        """For the loop that runs now; the socket itself lives as long as the node."""
        duplicate = self.sockets[address].dup()
        duplicate.setblocking(False)
        return Listener(core, dialect, duplicate)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            for listening in self.sockets.values():
                listening.close()


class Validator:
    """One validator's side of a live connection: sends anything, expects exact outcomes."""

    def __init__(self, core: Core, listener: Listener, link: Link, dialect: Dialect) -> None:
        self.core = core
        self.dialect = dialect
        self.link = link
        self.listener = listener
        self.public_key = b""

    async def ask(self, message: Message) -> Message:
        return await self.ask_raw(self.core.encode_message(self.dialect, message))

    async def ask_raw(self, wire: bytes) -> Message:
        self.link.send(wire)
        return self.core.decode_message(self.dialect, await self.receive())

    async def receive(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.link.receive()

    async def must_sign(self, request: Message) -> Message:
        if not self.public_key:
            self.public_key = (await self.ask(Message(Kind.PUB_KEY_REQUEST, chain_id=CHAIN))).pub_key
        answer = await self.ask(request)
        assert answer.error is None, answer.error
        Judge(self.core, self.dialect, CHAIN, self.public_key).verify(request, answer)
        return answer

    async def must_refuse(self, request: Message) -> str:
        """A RemoteSignerError with words, and no signature of any kind."""
        answer = await self.ask(request)
        assert answer.error is not None, answer
        assert answer.error.description.strip()
        assert_nothing_signed(answer)
        return answer.error.description

    async def must_serve(self, height: int) -> None:
        """A healthy connection: the three requests of a height, signed and verified."""
        block = block_of(CHAIN, height, 0)
        await self.must_sign(proposal_request(CHAIN, (height, 0), block))
        await self.must_sign(vote_request(CHAIN, SignedType.PREVOTE, (height, 0), block))
        await self.must_sign(vote_request(CHAIN, SignedType.PRECOMMIT, (height, 0), BlockID()))

    async def must_be_closed(self, within_s: float = PATIENCE_S) -> None:
        """The signer closes, and says nothing more."""
        with contextlib.suppress(EOFError, ConnectionError):
            async with asyncio.timeout(within_s):
                said = await self.link.receive()
            raise AssertionError(f"expected the connection to close, got {said.hex()}")
        self.link.close()


def assert_nothing_signed(answer: Message) -> None:
    for ballot in (answer.vote, answer.proposal):
        if ballot is not None:
            assert ballot.signature == b""
    if answer.vote is not None:
        assert answer.vote.extension_signature == b""
    assert answer.value == b""


async def connect(node: WireNode, core: Core, address: str, dialect: Dialect = Dialect.PROTO) -> Validator:
    """The signer's next live connection (those that died while they waited in the accept queue are
    passed over).
    """
    listener = node.listener(core, address, dialect)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                link = await listener.accept()
                validator = Validator(core, listener, link, dialect)
                await validator.ask(Message(Kind.PING_REQUEST))
            except (EOFError, OSError):
                continue
            return validator


@contextlib.asynccontextmanager
async def connected(node: WireNode, core: Core, address: str, dialect: Dialect = Dialect.PROTO):
    validator = await connect(node, core, address, dialect)
    try:
        yield validator
    finally:
        validator.link.close()
        validator.listener.close()
