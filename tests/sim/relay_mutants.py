"""A guard of the agent's path in C taken away in turn, at either end: the tests that hold this path
against the general path must fail.

`python -m tests.sim.relay_mutants` prints the table; --write puts it into
docs/SAFETY.md. A variant that no test notices, and tests that fail without any cut,
make this program fail. The extension is built by variants.py; the tests of one variant
run in a process of their own, with the same seed for all.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.sim.variants import ROOT, UNSENT, UNVERIFIED, Builder, Cut, load

MARKERS: Final = ("<!-- relay mutants: begin -->", "<!-- relay mutants: end -->")
#: The quickest first.
TESTS: Final = (
    "tests/unit/wire/test_agent_messages.py",
    "tests/property/test_relayed.py",
    "tests/unit/agent/test_node_link.py",
    "tests/unit/agent/test_process.py",
    "tests/unit/signer/test_desk.py",
)
PASSED, FAILED = 0, 1  # pytest's exit codes


@dataclass(frozen=True)
class Mutant:
    """What is taken away, and where it stands. Two cuts: each of the guards is enough alone."""

    name: str
    cuts: tuple[Cut, ...]

    @property
    def where(self) -> str:
        """The files of csrc."""
        return ", ".join(dict.fromkeys(cut.source for cut in self.cuts))


MUTANTS: Final = (
    Mutant(
        "the agent passes on what it did not verify",
        (UNVERIFIED,),
    ),
    Mutant(
        "the agent does not verify the extension's signature",
        (
            Cut(
                "session.c",
                " ||\n        !extension_verifies(s, type, public_key, got.ballot.extension_signature))",
                ")",
            ),
        ),
    ),
    Mutant(
        "an answer may be about something else than was asked",
        (Cut("session.c", " || !same_but_signed(&asked.ballot, &got.ballot)", ""),),
    ),
    Mutant("an answer may be of another kind", (Cut("session.c", " ||\n        got.kind != answer.kind)", ")"),)),
    Mutant(
        "something may stand behind an answer",
        (Cut("session.c", "length != untrusted.len - used ||", "length > untrusted.len - used ||"),),
    ),
    Mutant(
        "a refusal's words may be of any length",
        (Cut("session.c", "if (got.error_text.len > CK_ERROR_TEXT_MAX) return CK_MORE;", ""),),
    ),
    Mutant(
        "the agent takes an answer to any request",
        (Cut("relay.c", "if (!end || end->seq != answer->seq || answer->seq == 0) continue;", "if (!end) continue;"),),
    ),
    Mutant(
        "the agent asks the leader whatever the validator says",
        (Cut("relay.c", "if (!node || !plain(end)) return CK_OK;", "if (!node) return CK_OK;"),),
    ),
    Mutant(
        "a node's answer counts before its hello",
        (Cut("relay.c", "while (serve && *answered < CK_ROWS_MAX", "while (*answered < CK_ROWS_MAX"),),
    ),
    Mutant(
        "an answer overtakes what the validator has not read",
        (Cut("relay.c", "if (end->blocked || !end->key_type ||", "if (!end->key_type ||"),),
    ),
    Mutant(
        "what the validator's socket does not take is lost",
        (Cut("relay.c", "    end->unsent = len - end->unsent_at;\n", "    end->unsent = 0;\n"),),
    ),
    Mutant(
        "the end of the validator's connection is not seen", (Cut("relay.c", "if (got == 0) return CK_CLOSED;", ""),)
    ),
    Mutant(
        "a question overtakes what the node has not read",
        (Cut("agent_link.c", "if (link->blocked || ask->message.len", "if (ask->message.len"),),
    ),
    Mutant(
        "an answer overtakes what the agent has not read",
        (
            Cut("agent_link.c", "if (link->blocked || answer->message.len", "if (answer->message.len"),
            Cut("sign.c", "(link->agent ? link->agent->blocked : link->blocked)", "(!link->agent && link->blocked)"),
        ),
    ),
    Mutant(
        "what a link's socket does not take is lost",
        (UNSENT,),
    ),
    Mutant("the end of a link is not seen", (Cut("agent_link.c", "if (got == 0) return CK_CLOSED;", ""),)),
    Mutant(
        "something may stand behind a question",
        (Cut("agent_link.c", "body.left != 0 || ask.message.len", "ask.message.len"),),
    ),
    Mutant(
        "something may stand behind an answer's message",
        (Cut("agent_link.c", "body.left != 0 || answer.message.len", "answer.message.len"),),
    ),
    Mutant(
        "any byte is true or false",
        (
            Cut(
                "agent_link.c",
                "return *value || ck_unpack_byte(in, FALSE);",
                "if (!*value && in->left) in->at++, in->left--; return 1;",
            ),
        ),
    ),
    Mutant(
        "the node takes an urgent question for a plain one",
        (Cut("sign.c", "if (ask->urgent || (ask->dialect", "if ((ask->dialect"),),
    ),
    Mutant(
        "the node asks its majority while it does not lead",
        (Cut("sign.c", "while (serve && !desk->link.blocked", "while (!desk->link.blocked"),),
    ),
    Mutant(
        "the node forgets what is under way when it is asked again",
        (
            Cut(
                "sign.c",
                "if (link->asked || !signer->sections[link->chain].open || signer->sections[link->chain].asker) return CK_MORE;",
                "",
            ),
        ),
    ),
    Mutant(
        "a question is taken for any chain",
        (
            Cut(
                "sign.c",
                "if (!ck_same_bytes((ck_bytes){link->session->chain_id, link->session->chain_id_len}, ask->chain_id)) continue;",
                "",
            ),
        ),
    ),
)


def outcome(extension: Path) -> tuple[int, str]:
    """How the tests end with that core, and the first that failed."""
    command = [sys.executable, "-m", "tests.sim.relay_mutants", "--of", str(extension)]
    # What hypothesis keeps of one variant's failures would be tried, and might fail,
    # with the next one.
    kept = {"HYPOTHESIS_STORAGE_DIRECTORY": str(extension.parent / "hypothesis")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **kept})
    if done.returncode < 0:
        return FAILED, f"the process ended by signal {-done.returncode}"
    if done.returncode not in (PASSED, FAILED):
        raise RuntimeError(done.stdout + done.stderr)
    if done.returncode == PASSED:
        return PASSED, ""
    failed = re.search(r"^FAILED \S+/(\w+\.py)::(\w+)", done.stdout, re.MULTILINE)
    if failed is None:
        raise RuntimeError(done.stdout + done.stderr)
    return FAILED, f"`{failed[1]}`: {failed[2].removeprefix('test_').replace('_', ' ')}"


def run_tests(extension: Path) -> int:
    """In this process, whose C core is that one."""
    load(extension)
    import pytest

    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "-rf", "--hypothesis-seed=0", *TESTS]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.relay_mutants")
    parser.add_argument("--write", action="store_true", help="put the table into docs/SAFETY.md")
    parser.add_argument("--of", type=Path, metavar="SO", help="run the tests with that extension, and nothing else")
    parser.add_argument("--only", default="", help="those whose name contains this")
    chosen = parser.parse_args()
    if chosen.of:
        return run_tests(chosen.of)
    if chosen.write and chosen.only:
        parser.error("--write is for the whole table")
    mutants = [one for one in MUTANTS if chosen.only in one.name]
    with tempfile.TemporaryDirectory(prefix="cmkms-variants-") as directory:
        builder = Builder(Path(directory))
        whole = builder.build("whole", ())
        built = [builder.build(str(number), one.cuts) for number, one in enumerate(mutants)]
        code, why = outcome(whole)
        if code != PASSED:
            print(f"the tests fail without any cut: {why}", file=sys.stderr)
            return 1
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(outcome, built))
    rows = [(one, why if code == FAILED else "survived") for one, (code, why) in zip(mutants, found, strict=True)]
    lines = ["| what is taken away | in | the test that fails first |", "|---|---|---|"]
    lines += [f"| {one.name} | {one.where} | {why} |" for one, why in rows]
    print("\n".join(lines))
    if chosen.write:
        path = ROOT / "docs/SAFETY.md"
        text = path.read_text()
        begin, end = (text.index(marker) for marker in MARKERS)
        path.write_text(text[: begin + len(MARKERS[0])] + "\n" + "\n".join(lines) + "\n" + text[end:])
    return 1 if any(why == "survived" for _, why in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
