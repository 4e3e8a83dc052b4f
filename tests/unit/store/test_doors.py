"""What others can write is found at the start, with the very command that shuts it; what a
Kubernetes volume is passes.
"""

import os
from pathlib import Path

import pytest

from cometkms.errors import HardeningError, KeyFileError
from cometkms.keys.passphrase import PassphraseFile
from cometkms.keys.validator_key import load_public_key, write_key
from cometkms.store.doors import Me, Place, check_doors, check_keys_are_the_homes, judge
from tests.unit.hardening.child import in_child

ROOT = os.geteuid() == 0
NODE = Me(1000, frozenset({1000, 2000}), frozenset({0, 1000}))
DIRECTORY, FILE = 0o040000, 0o100000
SECRET = True


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "secret", "words"),
    [
        (DIRECTORY | 0o700, 1000, 1000, False, ""),
        (DIRECTORY | 0o755, 0, 0, False, ""),
        (DIRECTORY | 0o777, 1000, 1000, False, "chmod go-w"),
        (DIRECTORY | 0o775, 1000, 1000, False, "chmod g-w"),
        (DIRECTORY | 0o757, 1000, 1000, False, "chmod o-w"),
        (FILE | 0o666, 1000, 1000, False, "chmod go-w"),
        (FILE | 0o600, 1001, 1000, False, "belongs to uid 1001"),
        (DIRECTORY | 0o2775, 0, 2000, False, ""),  # a Kubernetes volume with fsGroup
        (DIRECTORY | 0o2775, 0, 3000, False, "chmod g-w"),  # a group that is not this process's
        (DIRECTORY | 0o2777, 0, 2000, False, "chmod go-w"),
        (FILE | 0o440, 0, 2000, SECRET, ""),  # a Kubernetes secret
        (FILE | 0o460, 0, 2000, SECRET, "chmod g-w"),
        # around a Kubernetes secret: nobody replaces another's file
        (DIRECTORY | 0o1777, 0, 2000, SECRET, ""),
        (DIRECTORY | 0o777, 0, 2000, SECRET, "chmod go-w"),
        (DIRECTORY | 0o1777, 0, 2000, False, "chmod go-w"),
    ],
)
def test_who_may_write(mode: int, uid: int, gid: int, secret: bool, words: str) -> None:
    said = str(judge(Place(Path("/h/x"), mode, uid, gid, secret), NODE) or "")
    assert words in said
    assert bool(said) == bool(words)
    assert judge(Place(Path("/h/x"), mode, uid, gid, secret, read_only=True), NODE) is None


def test_priv_itself_is_nobody_elses_even_if_sticky() -> None:
    said = judge(Place(Path("/h/priv"), DIRECTORY | 0o1777, 0, 0, SECRET), NODE)
    assert said is not None
    assert said.cure == "chmod go-w /h/priv"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("home", "home/priv", "home/data", "home/data/node0"):
        (tmp_path / folder).mkdir(mode=0o700)
    home = tmp_path / "home"
    (home / "config.toml").write_text("")
    (home / "config.toml").chmod(0o600)
    (home / "priv" / "state.json").write_text("{}")
    (home / "priv" / "state.json").chmod(0o600)
    write_key(home / "priv" / "key.json", os.urandom(32))
    return home


def test_what_all_programs_of_a_machine_share_is_not_to_be_shut(tmp_path: Path, home: Path) -> None:
    """`chmod go-w` of a link shuts what it leads to: /tmp, for everybody."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (home / "data" / "node0").rmdir()
    (home / "data" / "node0").symlink_to(shared)
    with pytest.raises(HardeningError) as failure:
        check(home)
    assert f"{home / 'data' / 'node0'} leads to {shared}, which can be written by others" in str(failure.value)
    assert "chmod" not in failure.value.cure + "".join(part.cure for part in failure.value.parts)
    shared.chmod(0o777)  # nobody shares such a one: what is in it could be replaced
    with pytest.raises(HardeningError, match=f"cure: chmod go-w {home / 'data' / 'node0'}"):
        check(home)
    said = judge(Place(shared, DIRECTORY | 0o1777, 0, 0, not SECRET), NODE)
    assert said is not None
    assert said.cure.startswith("keep what this node relies on in a directory of its own; or chmod go-w")


def test_nobody_is_told_to_shut_a_device(home: Path) -> None:
    """key_passphrase_file = "/dev/zero": who opens it says what it is; a machine whose /dev/null
    only root writes to is a broken one.
    """
    check_doors(home, "node0", [], [home / "priv" / "key.json", Path("/dev/null"), Path("/dev/zero")])


@pytest.mark.parametrize("name", ["priv", "priv/key.json", "priv/state.json", "data", "."])
def test_a_link_to_itself_is_for_who_opens_it_to_say(home: Path, name: str) -> None:
    path = home / name if name != "." else home
    path.rename(home.parent / "aside")
    path.symlink_to(path)
    check(home)
    check_keys_are_the_homes(home, [home / "priv" / "key.json"])


def check(home: Path, key: Path | None = None) -> None:
    check_doors(home, "node0", [home / "priv" / "state.json"], [key or home / "priv" / "key.json"])


def test_every_place_is_named_with_its_own_cure(home: Path) -> None:
    check(home)
    places = ["", "priv", "data", "data/node0", "config.toml", "priv/state.json", "priv/key.json"]
    for name in places:
        path = home / name
        mode = path.stat().st_mode & 0o777
        path.chmod(mode | 0o022)
        with pytest.raises(HardeningError, match=f"cure: chmod go-w {path}($|;)"):
            check(home)
        path.chmod(mode)
    for name in places:
        (home / name).chmod(0o777)
    with pytest.raises(HardeningError) as failure:
        check(home)
    for name in places:
        assert f"chmod go-w {home / name}" in str(failure.value)
    check(home / "not-there")


@pytest.mark.parametrize(
    ("mode", "words"), [(0o777, "chmod o-w"), (0o757, "chmod o-w"), (0o1777, ""), (0o775, ""), (0o755, "")]
)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("linked", [False, True])
def test_a_directory_far_above_in_which_all_may_replace_the_home_is_named(
    tmp_path: Path, home: Path, mode: int, words: str, depth: int, linked: bool
) -> None:
    """Whoever puts another one there chooses every setting: root believes a home's owner, and a
    node believes an older copy of its own.
    """
    above = tmp_path / "above"
    inner = above / "inner" if depth == 2 else above
    inner.mkdir(parents=True)
    home.rename(inner / "home")
    moved = inner / "home"
    if linked:
        (tmp_path / "link").symlink_to(moved)
        moved = tmp_path / "link"
    above.chmod(mode)
    if not words:
        check(moved)
        return
    with pytest.raises(HardeningError, match=f"what lies in {above} can be replaced by others.*{words} {above}"):
        check(moved)


def test_in_a_home_of_another_root_signs_with_no_key_from_elsewhere_but_its_owners(tmp_path: Path, home: Path) -> None:
    """Its owner writes the settings: with root's own key in them, and a validator and a watermark
    of theirs, he signed what he likes.
    """
    if not ROOT:
        return
    elsewhere, linked, twice = tmp_path / "key.json", home / "priv" / "linked.json", home / "priv" / "twice.json"
    write_key(elsewhere, os.urandom(32))
    own = home / "priv" / "key.json"
    check_keys_are_the_homes(home, [own, elsewhere])
    os.chown(home, 1000, 1000)
    check_keys_are_the_homes(home, [own, home / "priv" / "not-there"])  # inside, root's or theirs
    linked.symlink_to(elsewhere)
    for key in (elsewhere, linked):
        with pytest.raises(HardeningError, match=f"{key} belongs to uid 0.*to uid 1000.*cure: chown -R 0 {home}"):
            check_keys_are_the_homes(home, [own, key])
    os.chown(elsewhere, 1000, 1000)
    check_keys_are_the_homes(home, [elsewhere, linked])
    os.chown(elsewhere, 0, 0)
    os.link(elsewhere, twice)
    with pytest.raises(HardeningError, match="twice"):
        check_keys_are_the_homes(home, [twice])


def secret_volume(home: Path, mode: int, gid: int) -> Path:
    """As the kubelet makes one: links to ..data, which leads to a directory of that moment."""
    volume = home.parent / "volume"
    (volume / "..2026_11_28").mkdir(parents=True)
    (volume / "..data").symlink_to("..2026_11_28")
    real = volume / "..2026_11_28" / "key.json"
    real.write_bytes((home / "priv" / "key.json").read_bytes())
    (volume / "key.json").symlink_to("..data/key.json")
    for path in (volume, volume / "..2026_11_28", real):
        os.chown(path, 0, gid)
    volume.chmod(0o3777)
    real.chmod(mode)
    return volume / "key.json"


@pytest.mark.parametrize(
    ("mode", "gid", "words"),
    [(0o440, 2000, ""), (0o400, 2000, "cannot be read"), (0o444, 2000, "can be read by others"), (0o440, 3000, "cannot be read"),
     (0o460, 2000, "can be written by others")],
)  # fmt: skip
def test_a_kubernetes_secret_is_taken_when_it_is_this_groups_to_read_and_nobodys_to_write(
    home: Path, mode: int, gid: int, words: str
) -> None:
    if not ROOT:
        return
    key = secret_volume(home, mode, gid)
    wanted = load_public_key(home / "priv" / "key.json")

    def life() -> str:
        for path in (home, *home.rglob("*"), home.parent):
            os.chown(path, 1000, 1000)
        os.chdir(home.parent)
        os.setgroups([2000])
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        try:
            check(Path("home"), Path("volume/key.json"))
            return "" if load_public_key(Path("volume/key.json")) == wanted else "another key"
        except (HardeningError, KeyFileError) as error:
            return str(error)

    assert key.is_symlink()
    said = in_child(life)
    assert words in said
    assert bool(said) == bool(words)


def test_a_passphrase_of_root_for_our_group_is_taken_and_one_that_all_read_is_not(tmp_path: Path) -> None:
    if not ROOT:
        return
    (tmp_path / "word").write_text("a passphrase")
    os.chown(tmp_path / "word", 0, 2000)

    def life() -> list[str]:
        os.chdir(tmp_path)
        os.chown(tmp_path, 1000, 1000)
        found = []
        os.setgroups([2000])
        for mode in (0o440, 0o444, 0o460):
            (tmp_path / "word").chmod(mode)
            pid = in_child(_read_as_somebody)
            found.append(pid)
        return found

    assert in_child(life) == ["a passphrase", "refused", "refused"]


def _read_as_somebody() -> str:
    os.setresuid(1000, 1000, 1000)
    try:
        return bytes(PassphraseFile(Path("word")).read().view).decode()
    except KeyFileError:
        return "refused"
