"""A module's tests stand where the module stands: cometkms/a/b.py has tests/unit/a/test_b.py, or a
line below that says where and why.
"""

from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: By reason: modules, and the file of tests that holds each to its word. A folder
#: stands for what is in it.
ELSEWHERE: Final[dict[str, dict[str, str]]] = {
    "two cores, one set of tests: each runs on both, through their one interface": {
        "core/": "tests/unit/core/test_core.py",
    },
    "a shell around what has tests of its own: it is run as the process that it is": {
        "agent/validator_end.py": "tests/unit/agent/test_process.py",
        "api/process.py": "tests/e2e/test_metrics.py",
        "audit/process.py": "tests/e2e/test_audit.py",
        "ipc/helper.py": "tests/unit/state/test_writer.py",
        "signer/process.py": "tests/e2e/test_hardening.py",
        "state/control.py": "tests/e2e/test_cluster_commands.py",
        "state/process.py": "tests/e2e/test_cluster.py",
        "state/report.py": "tests/e2e/test_situations.py",
        "supervisor/start.py": "tests/e2e/test_running.py",
    },
    "a command: it is typed, as an operator does, and what it does has tests where that stands": {
        "cli/agent.py": "tests/e2e/test_agent.py",
        "cli/alert.py": "tests/e2e/test_webhook.py",
        "cli/commands.py": "tests/unit/cli/test_cli.py",
        "cli/completion.py": "tests/unit/cli/test_cli.py",
        "cli/config_cmd.py": "tests/unit/cli/test_config_show.py",
        "cli/demo.py": "tests/e2e/test_demo.py",
        "cli/init.py": "tests/unit/cli/test_cli.py",
        "cli/keys.py": "tests/unit/cli/test_keys_sealed.py",
        "cli/leader.py": "tests/unit/cli/test_running.py",
        "cli/loading.py": "tests/unit/cli/test_cli.py",
        "cli/moving.py": "tests/unit/cli/test_import_cmd.py",
        "cli/options.py": "tests/unit/cli/test_cli.py",
        "cli/output.py": "tests/unit/cli/test_json.py",
        "cli/passphrase.py": "tests/e2e/test_sealed_key.py",
        "cli/peer_id.py": "tests/e2e/test_noise.py",
        "cli/peers.py": "tests/unit/cli/test_running.py",
        "cli/standin.py": "tests/unit/cli/test_cli.py",
        "cli/start.py": "tests/e2e/test_running.py",
        "cli/state.py": "tests/unit/cli/test_cli.py",
        "cli/version.py": "tests/unit/cli/test_cli.py",
    },
    "part of one thing that is tested as a whole": {
        "agent/scaffold.py": "tests/unit/agent/test_config.py",
        "api/compose.py": "tests/unit/api/test_metrics.py",
        "api/cures.py": "tests/unit/api/test_alerts.py",
        "api/families.py": "tests/unit/api/test_metrics.py",
        "api/html.py": "tests/unit/api/test_page.py",
        "api/overview.py": "tests/unit/api/test_page.py",
        "api/tables.py": "tests/unit/api/test_page.py",
        "api/view.py": "tests/unit/api/test_page.py",
        "api/untrusted.py": "tests/property/test_metrics.py",
        "audit/appender.py": "tests/unit/audit/test_log.py",
        "audit/fields.py": "tests/unit/audit/test_log.py",
        "audit/walk.py": "tests/unit/audit/test_files.py",
        "cli/agent_run.py": "tests/unit/cli/test_plain.py",
        "cli/start_run.py": "tests/unit/cli/test_plain.py",
        "config/scaffold.py": "tests/unit/config/test_load.py",
        "config/schema.py": "tests/unit/config/test_load.py",
        "config/values.py": "tests/unit/config/test_load.py",
        "hardening/kernel.py": "tests/unit/hardening/test_prctl.py",
        "hardening/user.py": "tests/unit/hardening/test_children.py",
        "keys/formats.py": "tests/unit/keys/test_validator_key.py",
        "keys/identity.py": "tests/unit/keys/test_validator_key.py",
        "libraries.py": "tests/unit/test_keytypes.py",
        "net/listen.py": "tests/unit/api/test_server.py",
        "net/opening.py": "tests/unit/signer/test_link_noise.py",
        "net/noise.py": "tests/unit/signer/test_link_noise.py",
        "net/target.py": "tests/unit/config/test_load.py",
        "operator/demo/alone.py": "tests/unit/operator/standin/test_alone.py",
        "operator/doctor/chain.py": "tests/unit/operator/doctor/test_latency.py",
        "operator/doctor/clock.py": "tests/unit/operator/doctor/test_judgements.py",
        "operator/doctor/disk.py": "tests/unit/operator/doctor/test_judgements.py",
        "operator/doctor/examine.py": "tests/unit/cli/test_doctor.py",
        "operator/doctor/files.py": "tests/unit/operator/doctor/test_judgements.py",
        "operator/doctor/finding.py": "tests/unit/operator/doctor/test_judgements.py",
        "operator/doctor/key.py": "tests/unit/cli/test_doctor.py",
        "operator/doctor/memory.py": "tests/unit/operator/doctor/test_judgements.py",
        "operator/doctor/reach.py": "tests/unit/operator/doctor/test_judgements.py",
        "operator/doctor/running.py": "tests/unit/operator/doctor/test_judgements.py",
        "operator/doctor/state.py": "tests/unit/cli/test_doctor.py",
        "operator/doctor/versions.py": "tests/unit/operator/doctor/test_judgements.py",
        "operator/drill/report.py": "tests/unit/operator/drill/test_plan.py",
        "operator/moving/old_signer.py": "tests/unit/operator/moving/test_filepv.py",
        "operator/standin/ballots.py": "tests/unit/operator/standin/test_validator.py",
        "printable.py": "tests/unit/cli/test_escapes.py",
        "signer/fold.py": "tests/unit/signer/test_chain.py",
        "signer/links.py": "tests/e2e/test_reload.py",
        "state/peers/handshake.py": "tests/unit/state/peers/test_port.py",
        "state/membership.py": "tests/unit/state/test_node.py",
        "state/raft/filter.py": "tests/unit/state/raft/test_log.py",
        "state/raft/pinned.py": "tests/unit/state/raft/test_log.py",
        "store/epoch.py": "tests/unit/cli/test_epoch.py",
        "store/exported.py": "tests/unit/cli/test_export.py",
        "store/adopted.py": "tests/unit/cli/test_recover.py",
        "store/home_born.py": "tests/unit/store/test_born.py",
        "store/marks.py": "tests/unit/store/test_born.py",
        "store/node_files.py": "tests/unit/store/test_promise_store.py",
        "store/node_store.py": "tests/unit/store/test_promise_store.py",
        "store/owner.py": "tests/unit/store/test_born.py",
        "store/recover.py": "tests/unit/cli/test_recover.py",
        "store/state_file.py": "tests/unit/store/test_promise_store.py",
        "wire/dialect.py": "tests/unit/wire/test_handshake.py",
        "wire/identity.py": "tests/unit/wire/test_handshake.py",
        "wire/secret_connection.py": "tests/unit/wire/test_handshake.py",
    },
    "a rule that is a table: all of them are read as one, and each bug that a rule forbids is a mutant of the simulation": {
        "rules/candidate.py": "tests/unit/state/test_proposer.py",
        "rules/flow.py": "tests/sim/test_flow.py",
        "rules/promise.py": "tests/unit/rules/test_rules.py",
        "rules/recovery.py": "tests/unit/state/test_node.py",
        "rules/restart.py": "tests/unit/rules/test_rules.py",
        "rules/sign.py": "tests/unit/rules/test_rules.py",
    },
    "held against what others made: vectors, or any input at all": {
        "keys/public.py": "tests/vectors/test_keys.py",
        "keys/ripemd160.py": "tests/property/test_secp256k1.py",
        "wire/peer_id.py": "tests/vectors/test_noise.py",
    },
    "a request of HTTP, made to a server that listens": {
        "net/http_get.py": "tests/unit/net/test_comet_rpc.py",
    },
    "types: the type checker is their test": {
        "logger.py": "tests/lint/test_mirrors.py",
        "model.py": "tests/unit/test_limits.py",
        "state/shell.py": "tests/unit/state/three.py",
    },
}
PLACES: Final = {module: place for group in ELSEWHERE.values() for module, place in group.items()}
MODULES: Final = sorted(
    str(path.relative_to(ROOT / "cometkms"))
    for path in (ROOT / "cometkms").rglob("*.py")
    if not path.name.startswith("__")
)


def mirror(module: str) -> Path:
    path = Path(module)
    return ROOT / "tests" / "unit" / path.parent / f"test_{path.name}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_its_tests_where_a_reader_looks(module: str) -> None:
    told = module in PLACES or any(module.startswith(place) for place in PLACES if place.endswith("/"))
    what = (
        f"no {mirror(module).relative_to(ROOT)}: write it, or say in ELSEWHERE where the tests of {module} are, and why"
    )
    assert mirror(module).exists() != told, f"{module} has its tests where they belong: take it out" if told else what


@pytest.mark.parametrize("module", PLACES)
def test_what_has_its_tests_elsewhere_is_there_and_so_are_they(module: str) -> None:
    assert (ROOT / "cometkms" / module).exists()
    assert (ROOT / PLACES[module]).is_file()
