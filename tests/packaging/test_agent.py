"""What is packaged for an agent: the compose file and the Kubernetes example.

That an agent runs so: tests/e2e/test_agent_container.py.
"""

import base64
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cometkms.agent.config import load as load_agent
from cometkms.config.load import load_settings
from cometkms.config.table import BY_KEY, Flags
from cometkms.keys.identity import load_identity
from tests.e2e.systemdlike import parse_unit, seconds
from tests.packaging.test_container import instructions

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "packaging" / "kubernetes"
HOME = "/var/lib/cometkms"


def documents(name: str) -> dict[str, Any]:
    """By kind; there is one of each."""
    found = [one for one in yaml.safe_load_all((KUBERNETES / name).read_text()) if one]
    assert len({one["kind"] for one in found}) == len(found)
    return {one["kind"]: one for one in found}


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = documents(name)["StatefulSet"]["spec"]["template"]["spec"]
    return spec


def ours(name: str) -> dict[str, Any]:
    """The container that runs this program."""
    spec = pod(name)
    (found,) = (one for one in (*spec.get("initContainers", ()), *spec["containers"]) if one["image"] == "cometkms")
    assert isinstance(found, dict)
    return found


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container["env"]}


def test_the_compose_file_has_every_protection_and_starts_an_agent() -> None:
    (service,) = yaml.safe_load((ROOT / "packaging" / "container" / "agent.yaml").read_text())["services"].values()
    assert service["command"] == ["agent"]
    assert service["restart"] == "always"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "10000:10000"
    assert service["ulimits"]["core"] == 0
    assert service["healthcheck"] == {"disable": True}
    assert service["volumes"] == [f"agent:{HOME}"]
    assert "privileged" not in service
    unit = parse_unit((ROOT / "packaging" / "systemd" / "cmkms-agent.service").read_text())
    assert seconds(service["stop_grace_period"]) == seconds(unit["TimeoutStopSec"][-1])


@pytest.mark.parametrize(("name", "command"), [("nodes.yaml", ["start"]), ("validator.yaml", ["agent"])])
def test_every_pod_has_every_protection(name: str, command: list[str]) -> None:
    container, spec = ours(name), pod(name)
    assert container["args"] == command
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == instructions("USER")[0]
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for volume in spec["volumes"]:
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440, (
                "what keys/ takes from a secret of root's and the pod's group"
            )
    mounted = {
        one["name"] for one in (*spec["containers"], *spec.get("initContainers", ())) for one in one["volumeMounts"]
    }
    claims = documents(name)["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert mounted == {one["name"] for one in spec["volumes"]} | {one["metadata"]["name"] for one in claims}


def test_the_agent_is_a_sidecar_that_runs_before_cometbft_does() -> None:
    """As an ordinary container CometBFT would find no signer in its first three seconds, and end."""
    (container,) = pod("validator.yaml")["initContainers"]
    assert container["restartPolicy"] == "Always"
    (comet,) = pod("validator.yaml")["containers"]
    socket = tomllib.loads(documents("validator.yaml")["ConfigMap"]["data"]["agent.toml"])["validator"][0]["addr"]
    assert f"--priv_validator_laddr={socket}" in comet["args"]
    shared = {one["mountPath"] for one in comet["volumeMounts"]} & {
        one["mountPath"] for one in container["volumeMounts"]
    }
    assert shared == {str(Path(socket.removeprefix("unix://")).parent)}


def test_its_settings_are_what_the_program_takes(tmp_path: Path) -> None:
    """As the pod sees them: the settings, and the key that a secret brings."""
    (tmp_path / "agent.toml").write_text(documents("validator.yaml")["ConfigMap"]["data"]["agent.toml"])
    settings = load_agent(tmp_path)
    assert settings.metrics_addr is not None
    container = ours("validator.yaml")
    assert {one["containerPort"] for one in container["ports"]} == {settings.metrics_addr.port}
    assert container["livenessProbe"]["httpGet"]["port"] == container["ports"][0]["name"]
    nodes = documents("nodes.yaml")
    headless = nodes["Service"]["metadata"]["name"]
    ports = {one["name"]: one["port"] for one in nodes["Service"]["spec"]["ports"]}
    names = [f"{nodes['StatefulSet']['metadata']['name']}-{number}" for number in range(3)]
    assert nodes["StatefulSet"]["spec"]["replicas"] == len(names)
    assert [(one.id, str(one.address)) for one in settings.nodes] == [
        (name, f"{name}.{headless}:{ports['agents']}") for name in names
    ]
    label = nodes["NetworkPolicy"]["spec"]["ingress"][1]["from"][0]["podSelector"]["matchLabels"]
    assert label.items() <= documents("validator.yaml")["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()
    (tmp_path / "priv").mkdir()
    key = {"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": base64.b64encode(bytes(64)).decode()}}
    (tmp_path / "priv" / "identity_key.json").write_text(json.dumps(key))
    (tmp_path / "priv" / "identity_key.json").chmod(0o600)
    load_identity(tmp_path)


def test_the_nodes_settings_are_what_the_program_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = documents("nodes.yaml")
    container = ours("nodes.yaml")
    given = variables(container)
    assert set(given) <= {one.variable for one in BY_KEY.values()}
    (tmp_path / "config.toml").write_text(nodes["ConfigMap"]["data"]["config.toml"])
    for name, value in given.items():
        monkeypatch.setenv(name, value or "cometkms-0")
    settings = load_settings(tmp_path, Flags())
    assert [f"{one.id}.cometkms" for one in settings.peers] == [one.address.host for one in settings.peers]
    assert settings.id in {one.id for one in settings.peers}
    assert str(settings.chains[0].key_file).startswith("/run/secrets/cometkms/")
    assert settings.agent_addr is not None
    listened = {settings.agent_addr.port, settings.http_addr.port, settings.raft_addr.port}
    assert {one["containerPort"] for one in container["ports"]} == listened
    assert {one["port"] for one in nodes["Service"]["spec"]["ports"]} == listened
    assert nodes["Service"]["spec"]["publishNotReadyAddresses"] is True, "else the very first start never ends"
    assert nodes["StatefulSet"]["spec"]["podManagementPolicy"] == "Parallel", "for the same reason"
    assert nodes["StatefulSet"]["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_the_example_says_how_its_secrets_are_made() -> None:
    for name in ("nodes.yaml", "validator.yaml"):
        text = (KUBERNETES / name).read_text()
        made = set(re.findall(r"kubectl create secret generic (\S+)", text))
        assert made == {one["secret"]["secretName"] for one in pod(name)["volumes"] if "secret" in one}
