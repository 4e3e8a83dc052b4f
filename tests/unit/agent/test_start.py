"""What `cmkms agent` loads before it dials: while it starts, its validator waits."""

import subprocess
import sys
from pathlib import Path

from cometkms.agent.scaffold import init_agent

#: Costly, or no business of an agent's: HTTP, Raft, stores, a node's settings, what
#: makes and opens keys.
_NOT = (
    "click", "falcon", "uvicorn", "prometheus_client", "pysyncobj", "yaml", "cometkms.api", "cometkms.audit", "cometkms.board",
    "cometkms.config.load", "cometkms.config.webhook", "cometkms.hardening", "cometkms.ipc.child", "cometkms.keys.passphrase", "cometkms.rules.promise",
    "cometkms.rules.sign", "cometkms.signer", "cometkms.state", "cometkms.store", "cometkms.supervisor", "cometkms.webhook",
)  # fmt: skip
#: What `_NOT` would take for more than it is: how a process asks for no core dump, by a
#: call of the C library.
_SMALL = {"cometkms.hardening", "cometkms.hardening.kernel", "cometkms.hardening.prctl"}
_RUN = """
import sys
from unittest import mock
from cometkms.agent import process
with mock.patch.object(process, "run", lambda settings, log: print(*sorted(sys.modules)) or 0):
    from cometkms.cli import main
    main()
"""


def test_an_agent_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    node = f"node0=127.0.0.1:1:{'00' * 32}"
    init_agent(tmp_path / "a", name="a", nodes=(node,), validators=(("c-1", "tcp://127.0.0.1:2"),))
    command = [sys.executable, "-c", _RUN, "agent", "--home", str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split()) - _SMALL
    assert "cometkms.agent.process" in loaded
    assert [one for one in loaded if one.startswith(_NOT) and one.partition(".")[0] != "unittest"] == []
