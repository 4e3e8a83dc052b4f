"""Rules of the project that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if name and (ROOT / name).exists()]


def test_no_assert_in_the_program() -> None:
    for path in (ROOT / "cometkms").rglob("*.py"):
        assert not re.search(r"^\s*assert ", path.read_text(), re.M), path


def test_no_generated_file_is_tracked() -> None:
    assert not [path for path in tracked() if path.suffix in (".o", ".so", ".pyc")]


def test_only_the_proposer_and_the_queues_decoder_make_a_permit() -> None:
    """What a key slot signs consensus bytes for: whoever made one elsewhere would sign what no
    majority holds.
    """
    makers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "cometkms").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Permit"
    }
    assert makers == {"cometkms/state/proposer.py", "cometkms/wire/queue_messages.py"}
