"""Write the homes beside this file anew, by the real programs: each signs for CometBFT's own client
with a throw-away key.

    python -m tests.vectors.moving.make --tmkms PATH --horcrux PATH --cometkms PATH

tmkms: `cargo install tmkms --version 0.15.0 --locked --features softsign`. horcrux: `go build
./cmd/horcrux` of github.com/strangelove-ventures/horcrux. cometkms: `go build ./cmd/cmkms` of
github.com/initia-labs/CometKMS.
"""

import argparse
import contextlib
import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cometkms.keys.validator_key import key_document
from tests.e2e.node import PRECOMMIT, PREVOTE, PROPOSAL, Validator, ballot, cmkms, free_port, free_tcp, until

HERE = Path(__file__).parent
SEED = bytes(range(32))
CHAIN = "moving-1"
EMPTY_STATE = '{"height":"0","round":0,"step":0}'


@contextlib.contextmanager
def running(*command: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Until the end of the block; ended by SIGINT, as an operator does."""
    with (cwd / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def sign_through(validator: Validator, height: int, *kinds: int, block: str = "aa") -> None:
    validator.connect()
    for kind in kinds:
        until("a signature", lambda kind=kind: _asked(validator, kind, height, block))


def _asked(validator: Validator, kind: int, height: int, block: str) -> dict | None:
    answer = validator.sign(kind, height, 1, block)
    return answer if answer.get("signature") else None


def keep(source: Path, target: Path, *names: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for name in names:
        for found in sorted(source.glob(name)):
            at = target / found.relative_to(source)
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(found.read_text().replace(str(source.parent), "/old"))


def make_tmkms(program: str, work: Path) -> None:
    home = work / "tmkms"
    subprocess.run([program, "init", str(home)], check=True)
    (work / "key.json").write_bytes(key_document(SEED))
    key, state = home / "secrets" / f"{CHAIN}-consensus.key", home / "state" / f"{CHAIN}-consensus.json"
    subprocess.run([program, "softsign", "import", str(work / "key.json"), str(key)], check=True)
    address = free_tcp()
    (home / "tmkms.toml").write_text(
        f'[[chain]]\nid = "{CHAIN}"\nkey_format = {{ type = "hex" }}\nsign_extensions = true\nstate_file = "{state}"\n\n'
        f'[[validator]]\nchain_id = "{CHAIN}"\naddr = "{address}"\nsecret_key = "{home}/secrets/kms-identity.key"\n'
        f'protocol_version = "v0.38"\nreconnect = true\n\n'
        f'[[providers.softsign]]\nchain_ids = ["{CHAIN}"]\nkey_type = "consensus"\npath = "{key}"\n'
    )
    validator = Validator(address, chain=CHAIN)
    kinds = {"proposal": (PROPOSAL,), "prevote": (PROPOSAL, PREVOTE), "precommit": (PREVOTE, PRECOMMIT)}
    with running(program, "start", "-c", str(home / "tmkms.toml"), cwd=home):
        states = {}
        for height, (name, asked) in enumerate(kinds.items(), 41):
            sign_through(validator, height, *asked)
            states[name] = state.read_text()
        sign_through(validator, 44, PREVOTE, block="")
        states["nil"] = state.read_text()
        sign_through(validator, 45, PREVOTE, PRECOMMIT)
    validator.close()
    keep(home, HERE / "tmkms", "tmkms.toml", "secrets/*consensus.key", "state/*")
    (HERE / "tmkms" / "states.json").write_text(json.dumps(states, indent=1) + "\n")


def check_tmkms(program: str, work: Path) -> None:
    """tmkms itself goes on from what `cmkms export` wrote: nothing at the mark or
    below, everything above.
    """
    home, out, address = work / "cmkms", work / "export", free_tcp()
    for command in (
        ("init", "--home", str(home), "--chain-id", CHAIN, "--validator-addr", address),
        ("keys", "import", "--home", str(home), str(work / "key.json")),
    ):
        assert cmkms(*command).returncode == 0
    (home / "priv" / "priv_validator_state.json").write_text('{"height":"80","round":1,"step":2}')
    assert cmkms("export", "--home", str(home), "--to", "tmkms", str(out), "--yes").returncode == 0
    (out / "tmkms.toml").write_text(
        (work / "tmkms" / "tmkms.toml")
        .read_text()
        .replace(f"{work}/tmkms/s", f"{out}/s")
        .replace(_address(work), address)
    )
    shutil.copy(work / "tmkms" / "secrets" / "kms-identity.key", out / "secrets")
    validator = Validator(address, chain=CHAIN)
    with running(program, "start", "-c", str(out / "tmkms.toml"), cwd=out):
        validator.connect()
        for height, kind, block in (
            (79, PRECOMMIT, "aa"),
            (80, PREVOTE, "aa"),
            (80, PREVOTE, ""),
            (80, PROPOSAL, "aa"),
        ):
            answer = validator.ask(**ballot(kind, height, 1, block))
            assert not answer.get("signature"), (height, kind, answer)
            until("tmkms dials again", lambda: validator.ask(cmd="pub_key").get("pub_key"))
        sign_through(validator, 80, PRECOMMIT, block="")
        sign_through(validator, 81, PREVOTE, PRECOMMIT)
    validator.close()
    print("tmkms goes on from an exported home")


def _address(work: Path) -> str:
    return next(
        line.split('"')[1]
        for line in (work / "tmkms" / "tmkms.toml").read_text().splitlines()
        if line.startswith("addr")
    )


def make_horcrux_single(program: str, work: Path) -> None:
    home, address = work / "horcrux_single", free_tcp()
    home.mkdir()
    subprocess.run([program, "--home", str(home), "config", "init", "-m", "single", "-n", address], check=True)
    (home / f"{CHAIN}_priv_validator_key.json").write_bytes(key_document(SEED))
    validator = Validator(address, chain=CHAIN)
    with running(program, "--home", str(home), "start", "--accept-risk", cwd=home):
        sign_through(validator, 51, PROPOSAL, PREVOTE, PRECOMMIT)
    validator.close()
    keep(home, HERE / "horcrux_single", "config.yaml", f"{CHAIN}_*", "state/*")


def make_horcrux_threshold(program: str, work: Path) -> None:
    homes = [work / f"horcrux_threshold{n}" for n in (1, 2, 3)]
    address = free_tcp()
    cosigners = ",".join(f"tcp://127.0.0.1:{free_port()}" for _ in homes)
    (work / "key.json").write_bytes(key_document(SEED))
    shards = [
        "create-ed25519-shards",
        "--chain-id",
        CHAIN,
        "--key-file",
        str(work / "key.json"),
        "--threshold",
        "2",
        "--shards",
        "3",
    ]
    subprocess.run([program, "--home", str(work / "none"), *shards, "--out", str(work)], check=True)
    subprocess.run(
        [program, "--home", str(work / "none"), "create-ecies-shards", "--shards", "3", "--out", str(work)], check=True
    )
    for number, home in enumerate(homes, 1):
        home.mkdir()
        subprocess.run(
            [program, "--home", str(home), "config", "init", "-n", address, "-t", "2", "-c", cosigners], check=True
        )
        for name in (f"{CHAIN}_shard.json", "ecies_keys.json"):
            shutil.copy(work / f"cosigner_{number}" / name, home / name)
    validator = Validator(address, chain=CHAIN)
    with contextlib.ExitStack() as stack:
        for home in homes:
            stack.enter_context(running(program, "--home", str(home), "start", cwd=home))
        sign_through(validator, 61, PROPOSAL, PREVOTE, PRECOMMIT)
        time.sleep(2)  # its state files are written behind the answer
    validator.close()
    for number, home in enumerate(homes, 1):
        keep(home, HERE / "horcrux_threshold" / f"cosigner_{number}", "config.yaml", f"{CHAIN}_shard.json", "state/*")


def make_cometkms(program: str, work: Path) -> None:
    """Three nodes; the leader is stopped in between, so that two have signed and one never has."""
    names, address = ["node0", "node1", "node2"], free_tcp()
    ports = [free_port() for _ in names]
    peers = ", ".join(f'"{name}=127.0.0.1:{port}"' for name, port in zip(names, ports, strict=True))
    homes = [work / name for name in names]
    for home, name, port in zip(homes, names, ports, strict=True):
        (home / "priv").mkdir(parents=True)
        (home / "config.toml").write_text(
            f'id = "{name}"\nraft_addr = "127.0.0.1:{port}"\nhttp_addr = "127.0.0.1:{free_port()}"\npeer = [{peers}]\n'
            f'validator_addr = ["{address}"]\nchain_id = "{CHAIN}"\nlog_level = "info"\nlog_format = "plain"\nallow_unsafe = false\n'
        )
        (home / "priv" / "priv_validator_key.json").write_bytes(key_document(SEED))
        (home / "priv" / "priv_validator_state.json").write_text(EMPTY_STATE)
    validator = Validator(address, chain=CHAIN)
    with contextlib.ExitStack() as rest:
        first = contextlib.ExitStack()
        for number, home in enumerate(homes):
            (first if number == 0 else rest).enter_context(running(program, "--home", str(home), "start", cwd=home))
        sign_through(validator, 71, PROPOSAL, PREVOTE, PRECOMMIT)
        first.close()
        sign_through(validator, 72, PREVOTE, PRECOMMIT)
        sign_through(validator, 73, PREVOTE)
    validator.close()
    for home in homes:
        keep(home, HERE / "cometkms" / home.name, "config.toml", "priv/*")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("tmkms", "horcrux", "cometkms"):
        parser.add_argument(f"--{name}")
    programs = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if programs.tmkms:
            make_tmkms(programs.tmkms, work)
            check_tmkms(programs.tmkms, work)
        if programs.horcrux:
            make_horcrux_single(programs.horcrux, work)
            make_horcrux_threshold(programs.horcrux, work)
        if programs.cometkms:
            make_cometkms(programs.cometkms, work)


if __name__ == "__main__":
    main()
