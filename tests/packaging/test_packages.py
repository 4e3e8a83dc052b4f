"""The wheel and the sdist, built and installed in a fresh environment, and a build
without a C compiler.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one wheel and one sdist, built from the tracked files alone."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    names = (
        subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    )
    for name in names:
        if name and (ROOT / name).exists() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return out


def version_of(environment: Path) -> dict[str, str]:
    command = [str(environment / "bin" / "cmkms"), "version", "--json"]
    kept = {name: value for name, value in os.environ.items() if name not in ("COMETKMS_PURE", "PYTHONPATH")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=environment, env=kept)
    return json.loads(done.stdout)


def has_page(environment: Path) -> bool:
    """The status page's style and script are files of the package."""
    command = [str(environment / "bin" / "python"), "-c", "from cometkms.api import page; print(page.POLICY)"]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=environment, env=kept)
    return "sha256-" in done.stdout


def install(environment: Path, package: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """By this environment's pip: the fresh one need not have one, nor the bytecode of
    what runs once.
    """
    venv.create(environment)
    into = ["--python", str(environment / "bin" / "python"), "install", "--no-compile"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *into, "--verbose", str(package)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **variables})


def test_the_wheel_installs_with_its_c_core(built: Path, tmp_path: Path) -> None:
    install(tmp_path / "env", next(built.glob("*.whl")))
    assert version_of(tmp_path / "env")["core"] == "native"
    assert has_page(tmp_path / "env")


def test_the_sdist_installs_with_its_c_core(built: Path, tmp_path: Path) -> None:
    install(tmp_path / "env", next(built.glob("*.tar.gz")))
    assert version_of(tmp_path / "env")["core"] == "native"
    assert has_page(tmp_path / "env")


def test_without_a_compiler_the_build_says_so_in_one_line_and_the_twin_runs(built: Path, tmp_path: Path) -> None:
    done = install(tmp_path / "env", next(built.glob("*.tar.gz")), CC="no-such-compiler")
    said = [line for line in (done.stdout + done.stderr).splitlines() if "the C core was not built" in line]
    assert len(said) == 1, said
    assert version_of(tmp_path / "env")["core"] == "pure"
