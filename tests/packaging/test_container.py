"""The container and compose files: what they must hold.

That such an image runs: tests/e2e/test_container.py.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from cometkms.config.table import BY_KEY
from tests.e2e.systemdlike import parse_unit, seconds

ROOT = Path(__file__).resolve().parents[2]
CONTAINER = ROOT / "packaging" / "container"
INSTRUCTIONS = re.sub(
    r"\\\n\s*", "", re.sub(r"^#.*\n", "", (CONTAINER / "Containerfile").read_text(), flags=re.M)
).splitlines()


def instructions(word: str) -> list[str]:
    return [line.partition(" ")[2] for line in INSTRUCTIONS if line.startswith(f"{word} ")]


def last_stage() -> list[str]:
    return INSTRUCTIONS[max(number for number, line in enumerate(INSTRUCTIONS) if line.startswith("FROM ")) :]


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
    return document


def pinned(path: Path) -> dict[str, set[str]]:
    """Package → its hashes, with its version."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in path.read_text().splitlines():
        if begins := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            name = begins[1].lower()
            found[name] = {begins[2]}
        elif "--hash=" in line:
            found[name].add(line.strip().rstrip("\\ "))
    return found


def test_what_the_image_installs_is_what_the_tests_run_on_and_nothing_else() -> None:
    tested, image = pinned(ROOT / "requirements-dev.txt"), pinned(CONTAINER / "requirements.txt")
    assert {name: tested[name] for name in image} == image
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [one for extra in project["project"]["optional-dependencies"].values() for one in extra]
    wanted = {re.split(r"[<>=\[]", one)[0].lower() for one in [*project["project"]["dependencies"], *extras]}
    assert set(image) - wanted == {"pycparser", "h11"}  # cffi's and uvicorn's own
    assert wanted <= set(image)
    build = pinned(CONTAINER / "build.txt")
    assert {name: tested[name] for name in build} == build
    assert {re.split(r"[<>=]", one)[0] for one in project["build-system"]["requires"]} <= set(build)


def test_the_image_holds_no_compiler_no_pip_and_no_root() -> None:
    last = "\n".join(last_stage())
    assert "gcc" not in last
    assert "pip" not in last
    # a number: Kubernetes' runAsNonRoot can check it
    assert instructions("USER") == ["10000:10000"]
    assert "curl" not in last


def test_everything_that_is_copied_is_there() -> None:
    for line in instructions("COPY"):
        if not line.startswith("--from"):
            for name in line.split()[:-1]:
                assert (ROOT / name).exists(), name


def test_it_starts_the_node_as_process_1_without_a_shell_and_its_health_is_asked_of_itself() -> None:
    entry = json.loads(instructions("ENTRYPOINT")[0])
    assert entry == ["/opt/cometkms/bin/cmkms", "--home", "/var/lib/cometkms"]
    assert json.loads(instructions("CMD")[0]) == ["start"]
    health = instructions("HEALTHCHECK")[0].partition("CMD ")[2]
    assert json.loads(health) == [*entry, "status"]
    assert json.loads(instructions("VOLUME")[0]) == ["/var/lib/cometkms"]


def test_each_service_has_every_protection() -> None:
    services = compose()["services"]
    assert list(services) == ["node0", "node1", "node2"]
    unit = parse_unit((ROOT / "packaging" / "systemd" / "cmkms.service").read_text())
    for name, service in services.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "10000:10000"
        assert service["tmpfs"] == ["/tmp"]
        assert service["ulimits"]["core"] == 0
        assert service["ulimits"]["memlock"] == 64 << 20
        assert seconds(service["stop_grace_period"]) == seconds(unit["TimeoutStopSec"][-1])
        assert service["healthcheck"]["test"] == ["CMD", *json.loads(instructions("ENTRYPOINT")[0]), "status"]
        assert set(service["secrets"]) == {"validator_key", "passphrase"}
        assert service["volumes"] == [f"{name}:/var/lib/cometkms"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert "privileged" not in service


def test_the_three_nodes_are_one_cluster() -> None:
    document = compose()
    variables = [service["environment"] for service in document["services"].values()]
    assert [one["COMETKMS_ID"] for one in variables] == list(document["services"])
    (peers,) = {one["COMETKMS_PEER"] for one in variables}
    assert [peer.partition("=")[0] for peer in peers.split(",")] == list(document["services"])
    known = {one.variable for one in BY_KEY.values()}
    assert all(set(one) <= known for one in variables)
    for kind in ("volumes", "secrets", "configs", "networks"):
        used = {
            (item["source"] if isinstance(item, dict) else item.partition(":")[0])
            for service in document["services"].values()
            for item in service[kind]
        }
        assert used == set(document[kind])


def test_the_shared_settings_name_the_key_where_the_secret_is() -> None:
    settings = tomllib.loads((CONTAINER / "config.toml").read_text())
    assert [table["key_file"] for table in settings["chain"]] == ["/run/secrets/validator_key"]
    assert compose()["services"]["node0"]["environment"]["COMETKMS_KEY_PASSPHRASE_FILE"] == "/run/secrets/passphrase"
