"""`cmkms agent` as packaging/kubernetes/validator.yaml puts it: process 1, a user without a name,
its key a secret of root's and the pod's group behind links, its settings not to be written, nothing
writable but an empty directory.
"""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.agents import AgentProcess, identity_of
from tests.e2e.cluster import Client
from tests.e2e.node import PATIENCE_S, PREVOTE, Node, children_of, fetch, free_port, until
from tests.e2e.realsystemd import mount_trees, program_text
from tests.e2e.test_container import NOBODY, WAYS, in_namespaces

GROUP = 10000
_ENTER = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /opt
{trees}
cp {program} /opt/cmkms
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir /var/lib/cometkms
mount -t tmpfs -o size=1m,mode=2777,gid={group} tmpfs /var/lib/cometkms
mkdir /var/lib/cometkms/priv
touch /var/lib/cometkms/agent.toml
mount --bind {home}/agent.toml /var/lib/cometkms/agent.toml
mount -o remount,bind,ro /var/lib/cometkms/agent.toml
mount -t tmpfs -o mode=3777,gid={group} tmpfs /var/lib/cometkms/priv
mkdir /var/lib/cometkms/priv/..2026
install -o 0 -g {group} -m 440 {home}/priv/identity_key.json /var/lib/cometkms/priv/..2026/identity_key.json
ln -s ..2026 /var/lib/cometkms/priv/..data
ln -s ..data/identity_key.json /var/lib/cometkms/priv/identity_key.json
mount -o remount,ro /var/lib/cometkms/priv
mount --bind {sockets} /mnt
mount -o remount,bind,ro /
exec setpriv --reuid={nobody} --regid={group} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \\
    env -i PATH=/usr/bin:/bin /opt/cmkms --home /var/lib/cometkms agent
"""


@pytest.mark.skipif(
    in_namespaces not in WAYS, reason="no namespaces can be made here; the layout is held by tests/packaging"
)
def test_a_sidecar_signs_for_its_validator_over_a_unix_socket_and_its_probe_answers(tmp_path: Path) -> None:
    sockets = tmp_path / "sockets"
    sockets.mkdir(mode=0o777)
    agent = AgentProcess(tmp_path / "agent")
    node = Node(tmp_path / "node0")
    agent_addr = f"127.0.0.1:{free_port()}"
    agent.configure([identity_of(node, "node0", agent_addr)], ["unix:///mnt/privval.sock"])
    validator = Client(f"unix://{sockets}/privval.sock")
    (agent.home / "agent.toml").chmod(0o644)  # as a config map's file is
    until("it listens", lambda: (sockets / "privval.sock").exists())
    (sockets / "privval.sock").chmod(0o666)
    (tmp_path / "program").write_text(program_text())
    (tmp_path / "program").chmod(0o755)
    text = _ENTER.format(
        trees=mount_trees("/opt"),
        program=shlex.quote(str(tmp_path / "program")),
        home=shlex.quote(str(agent.home)),
        sockets=shlex.quote(str(sockets)),
        nobody=NOBODY,
        group=GROUP,
    )
    command = ["unshare", "--pid", "--mount", "--ipc", "--uts", "--fork", "--kill-child", "bash", "-c", text]
    with agent.log_path.open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        node.start("--agent-addr", agent_addr, "--agents", agent.line)
        until(agent.log, lambda: " validator connected" in agent.log())
        validator.must_sign(PREVOTE, 1)
        assert fetch(f"http://127.0.0.1:{agent.metrics_port}/metrics")[0] == 200
        (pid,) = children_of(process.pid)
        assert Path(f"/proc/{pid}/root/var/lib/cometkms/public_keys.json").stat().st_size > 0
        os.kill(pid, signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0, agent.log()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        node.stop()
        validator.close()
