"""Which files the settings name, and that each of them is one thing: a state file is written over
what stands there, and one that cannot be understood is moved aside.

Nothing is opened here, so that no FIFO keeps anybody waiting. What this user may not look at is
passed over: whoever opens it says so.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cometkms.config.schema import Settings
from cometkms.config.webhook import UrlFile
from cometkms.errors import ConfigError
from cometkms.keys.passphrase import PassphraseFile
from cometkms.net.target import UnixTarget

CONFIG_NAME: Final = "config.toml"
KEY_NAME: Final = "priv_validator_key.json"
STATE_NAME: Final = "priv_validator_state.json"
_IDENTITY_NAME: Final = "identity_key.json"
#: What a node keeps in priv/, beside what a setting names there.
NAMES_IN_PRIV: Final = frozenset({"born.json", "cluster.key", "exported.json", _IDENTITY_NAME})
#: What a node keeps under a name of its own, wherever in the home: nobody's key or state file.
OWN_NAMES: Final = NAMES_IN_PRIV | frozenset(
    {
        CONFIG_NAME,
        ".cometkms.tmp",
        ".control.sock",
        ".doctor-probe",
        "adopted.json",
        "audit",
        "cmkms.lock",
        "control.sock",
        "promises",
        "raft",
        "seals",
    }
)
#: Store and log before they are put in place and after they were replaced, and an audit log's file.
_OWN_FORMS: Final = re.compile(
    r"(promises|raft)\.(old-[0-9]+|epoch-[0-9]+|new|made|begun|broken.*)|[0-9]{12,20}\.jsonl"
)
#: What is written aside before it has its name.
_ASIDE: Final = re.compile(r"\.(.+?)(\.[0-9]+)?\.(tmp|new)")
_KEY: Final = "key_file"
_STATE: Final = "state_file"
_NOISE: Final = "noise_identity_file"
_VALIDATOR: Final = "validator_addr"
_EACH: Final = "a file of its own for each"


@dataclass(frozen=True, slots=True)
class _Named:
    """A file, and the setting that names it; "" for one that the node keeps itself. `real`: where
    its path leads; `status`: what is there, None where nothing is seen.
    """

    setting: str
    path: Path
    real: Path
    status: os.stat_result | None

    @staticmethod
    def look(setting: str, path: Path) -> "_Named":
        try:
            status = path.stat()
        except OSError:
            status = None
        return _Named(setting, path, Path(os.path.realpath(path)), status)

    def is_linked(self, other: "_Named") -> bool:
        """Whether both are one file, under two names."""
        return self.status is not None and other.status is not None and os.path.samestat(self.status, other.status)

    def is_same(self, other: "_Named") -> bool:
        return self.real == other.real or self.is_linked(other)

    def __str__(self) -> str:
        return f"{self.setting} = {str(self.path)!r}"


def check_files(settings: Settings) -> list[ConfigError]:
    """What is wrong with the files that the settings name, validators' sockets among them: two
    settings name one, or one is a file of the node's own, by its path, behind a link, or as its
    second name; or a state file is a device, or a directory in which others are.
    """
    named, own = _named(settings), [_Named.look("", path) for path in _own_files(settings)]
    found = [_judge_pair(one, other) for number, one in enumerate(named) for other in named[number + 1 :]]
    found += [_judge_kept(one, other) for one in named for other in named if other is not one]
    found += [_judge_own(one, own, settings.home) for one in named]
    found += [_judge_place(one, [*named, *own]) for one in named if one.setting == _STATE]
    return [error for error in found if error is not None]


def check_kinds(settings: Settings) -> list[ConfigError]:
    """Key files, state files and an identity that are there and no files. A start says so, too; a
    command that only looks at a node that runs goes on.
    """
    read = [one for one in _named(settings) if one.setting in (_KEY, _STATE, _NOISE) and one.status is not None]
    return [
        ConfigError(
            f"{one}: {'it is a directory' if stat.S_ISDIR(one.status.st_mode) else 'it is no regular file'}",
            cure=f"put the file itself there, in place of what is there now; or its path into {one.setting}",
        )
        for one in read
        if one.status is not None and not stat.S_ISREG(one.status.st_mode)
    ]


def _named(settings: Settings) -> list[_Named]:
    """One for each path and setting: chains may share a key."""
    files = [(_KEY, chain.key_file) for chain in settings.chains]
    files += [(_STATE, chain.state_file) for chain in settings.chains]
    if settings.noise_identity_file is not None:
        files.append((_NOISE, settings.noise_identity_file))
    secret, receiver = settings.key_passphrase, settings.webhook.source if settings.webhook is not None else None
    if secret is not None and secret.secret_file is not None:
        kind = "file" if isinstance(secret, PassphraseFile) else "credential"
        files.append((f"key_passphrase_{kind}", secret.secret_file))
    if receiver is not None and receiver.secret_file is not None:
        kind = "file" if isinstance(receiver, UrlFile) else "credential"
        files.append((f"alert_webhook_{kind}", receiver.secret_file))
    targets = [one.target for chain in settings.chains for one in chain.validator_addrs]
    files += [(_VALIDATOR, Path(target.path)) for target in targets if isinstance(target, UnixTarget)]
    return [_Named.look(setting, path) for setting, path in dict.fromkeys(files)]


def _own_files(settings: Settings) -> list[Path]:
    """What the node keeps itself and no setting names, in this home and beside its state files."""
    home, data = settings.home, settings.home / "data" / settings.id
    beside = dict.fromkeys([data, home / "priv", *(chain.state_file.parent for chain in settings.chains)])
    return [
        home / CONFIG_NAME,
        home / "cmkms.lock",
        home / "priv" / "cluster.key",
        home / "priv" / _IDENTITY_NAME,
        *(data / name for name in ("promises", "raft", "adopted.json", "control.sock")),
        *(folder / name for folder in beside for name in ("born.json", "exported.json")),
    ]


def _judge_pair(one: _Named, other: _Named) -> ConfigError | None:
    """Two settings, one file. Two names of one state file part when one is written; two of one
    validator are told elsewhere.
    """
    if not one.is_same(other) or one.setting == other.setting in (_KEY, _VALIDATOR):
        return None
    if one.setting == other.setting == _STATE:
        words = f"the state files {one.path} and {other.path} are one: two chains would write it"
        return ConfigError(words, cure=_EACH) if one.real == other.real else None
    if one.real != other.real:
        return ConfigError(f"{one} and {other}: they are one file under two names", cure=f"{_EACH}, and no hard link")
    over = "the key" if _KEY in (one.setting, other.setting) else "it"
    is_written = _STATE in (one.setting, other.setting)
    why = f"the state would be written over {over}" if is_written else "it is one of the two"
    as_both = f"{one.path} is configured as {one.setting} and as {other.setting}"
    return ConfigError(f"{as_both}: {why}", cure=_EACH)


def _judge_kept(one: _Named, other: _Named) -> ConfigError | None:
    """Whether `one` has a name that is given to what `other` was before, or is written aside."""
    if other.setting not in (_KEY, _STATE) or one.real.parent != other.real.parent:
        return None
    name = re.escape(other.path.name)
    kept = rf"|{name}\.old-[0-9]+|{name}\..+@[0-9]+" if other.setting == _STATE else ""
    if not re.fullmatch(rf"\.{name}(\.[0-9]+)?\.(tmp|new){kept}", one.path.name):
        return None
    return ConfigError(
        f"{one}: a node keeps what was {other.path}, or becomes it, under such a name", cure="another name"
    )


def _judge_own(one: _Named, own: list[_Named], home: Path) -> ConfigError | None:
    """What has the name, or is the file, of something of the node's own, which it may not have made
    yet. A key, which is only read, may have any name in a directory that is none of this home's.
    """
    places = [path for path in (one.path, one.real) if one.setting == _STATE or _is_in(path, home)]
    if one.setting in (_KEY, _STATE) and any(is_own_name(path.name) for path in places):
        return ConfigError(f"{one}: a node keeps a file of that name itself", cure="another name")
    for other in own:
        if one.setting == _NOISE and other.path.name == _IDENTITY_NAME:
            continue  # one node alone may show validators who it is to them already
        if one.is_same(other):
            return ConfigError(f"{one}: that is {other.path}, which a node keeps itself", cure="a file of its own")
    return None


def _is_in(path: Path, home: Path) -> bool:
    """Whether it lies in the home, however either is written."""
    path = Path(os.path.normpath(path))
    return home in path.parents or Path(os.path.realpath(home)) in path.parents


def is_own_name(name: str) -> bool:
    """Whether a node keeps a file of that name itself."""
    aside = _ASIDE.fullmatch(name)
    return name in OWN_NAMES or bool(_OWN_FORMS.fullmatch(name)) or (aside is not None and is_own_name(aside[1]))


def _judge_place(one: _Named, others: list[_Named]) -> ConfigError | None:
    """A state file's place, of which a command would say to move away what stands there."""
    if one.status is not None and (stat.S_ISCHR(one.status.st_mode) or stat.S_ISBLK(one.status.st_mode)):
        return ConfigError(f"{one}: it is a device", cure="the path of a file")
    inside = next((other for other in others if one.real in other.real.parents), None)
    if inside is None:
        return None
    return ConfigError(f"{one}: it is the directory that {inside.path} is in", cure="the path of a file")
