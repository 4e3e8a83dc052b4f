"""A machine is replaced while the old one lives on behind a cut, and comes back when it hurts most:
one member, one store.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometkms.errors import SupersededError
from tests.e2e.cluster import Judge, Rivals
from tests.e2e.namespaces import NONE_HERE, Namespaces, free_network
from tests.e2e.node import cmkms, until

pytestmark = pytest.mark.long

MACHINES = {"node0": "node0", "node1": "node1", "node2": "node2", "new2": "node2"}


@pytest.fixture
def machines(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Namespaces, Rivals]]:
    """Under two rivals and a judge; a parameter names other machines than MACHINES."""
    net = free_network()
    validators = [f"tcp://{Namespaces.host(net)}:2697{number}" for number in (1, 2)]
    made = Namespaces(tmp_path, *validators, net=net, machines=getattr(request, "param", MACHINES))
    if not made.build():
        made.remove()
        pytest.skip(NONE_HERE)
    judge = Judge()
    rivals = Rivals(validators, judge)
    try:
        yield made, rivals
        judge.verdict()
    except BaseException:
        for machine in made.nodes:
            print(f"--- {machine}\n" + "\n".join(made.log(machine).splitlines()[-40:]))
        raise
    finally:
        rivals.stop()
        made.stop()
        made.remove()
    judge.verdict()


def lead(machines: Namespaces, wanted: str) -> None:
    """Whoever leads hands over, until it is the wanted one."""

    def leads() -> bool:
        if machines.leads(wanted):
            return True
        cmkms("leader", "transfer", "--to", wanted, "--home", str(machines.nodes[wanted].home), "--id", wanted)
        return False

    until(f"{wanted} leads", leads)


def said(machines: Namespaces, machine: str, *words: str) -> bool:
    return all(one in machines.log(machine) for one in words)


@pytest.mark.parametrize("led", ["node2", "node1"])
@pytest.mark.parametrize("strict", ["off", "on"])
def test_a_replaced_machine_that_lived_on_behind_a_cut_takes_part_in_no_signature(
    machines: tuple[Namespaces, Rivals], strict: str, led: str
) -> None:
    """RUNBOOK "Replace a machine": the new node2 is complete; then the network parts {new2, node0}
    from {the old node2, node1}.
    """
    nodes, rivals = machines
    nodes.flags = ["--strict-start"] if strict == "on" else []
    for name in ("node0", "node1", "node2"):
        nodes.run(name)
    until("a leader", nodes.seen_leading)
    rivals.start()
    rivals.progress(3)
    lead(nodes, led)
    rivals.progress(5)
    nodes.pull("node2")
    rivals.progress(3)

    nodes.run("new2")
    until("the new node2 is complete", lambda: said(nodes, "new2", "recovered: every other node was read"))
    rivals.progress(3)

    for one, other in (("node0", "node1"), ("node0", "node2"), ("new2", "node1"), ("new2", "node2")):
        nodes.part(one, other)
    nodes.pull("node2", out=False)
    old = nodes.nodes["node2"].process
    assert old is not None
    until("the old node2 ends", lambda: old.poll() is not None)
    assert old.returncode == SupersededError.exit_code
    assert said(nodes, "node2", "another store stands for node2 now", "leave this machine off if it was replaced")
    rivals.progress(5)

    for one, other in (("node0", "node1"), ("new2", "node1")):
        nodes.part(one, other, apart=False)
    until("node1 hears the others again", lambda: said(nodes, "node1", "a member began anew"))
    nodes.run("node2")  # whoever replaced it switches it on once more
    again = nodes.nodes["node2"].process
    assert again is not None
    until("it ends again", lambda: again.poll() is not None)
    assert again.returncode == SupersededError.exit_code
    rivals.progress(5)
