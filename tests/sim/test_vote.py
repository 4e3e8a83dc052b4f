"""A vote on the general path, followed: which functions it takes, in which files, and that
docs/ARCHITECTURE.md walks the same way.
"""

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from cometkms.wire.peer_messages import Promise, Promised, decode
from cometkms.wire.queue_messages import Reserve
from tests.sim.test_far import born, wait_leader

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = f"{ROOT / 'cometkms'}/"
GENERAL_SEED: Final = 2  # an even one takes the general path
VOTES_BEFORE: Final = 3  # so that nothing is done for the first time
FUNCTIONS_MAX: Final = 30
FILES_MAX: Final = 14
STEP: Final = re.compile(r"`([\w.]+)`(?:\s+and\s+`([\w.]+)`)?\s+\(`([\w/]+\.py)`\)")
ITALIC: Final = re.compile(r"(?<!\*)\*(?!\*)([^*]+)\*(?!\*)")
#: Each core is one call for its reader; counting how long a thing took is no part of it.
APART: Final = ("core/", "histogram.py")

Step = tuple[str, str]


class Follower:
    """Notes what a vote calls, from the signer's request to the answer.

    A call within one file is no step: its reader is there.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.node_entered: list[int] = []
        self.answered = False
        self._inside = False

    def follow(self, owner: Any, name: str, takes: Callable[..., bool] = lambda *_: True) -> None:
        """Note what this method of `owner` calls, where `takes` says so of its arguments."""
        real = getattr(owner, name)

        def followed(*arguments: Any, **named: Any) -> Any:
            if self.answered or self._inside or not takes(*arguments):
                return real(*arguments, **named)
            before = len(self.steps)
            self._inside = True
            sys.setprofile(self._on_event)
            try:
                return real(*arguments, **named)
            finally:
                sys.setprofile(None)
                self._inside = False
                self.node_entered.append(sum(file == "state/node.py" for file, _ in self.steps[before:]))

        setattr(owner, name, followed)

    def _on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        code, caller = frame.f_code, frame.f_back
        if event != "call" or self.answered or caller is None or not code.co_filename.startswith(PACKAGE):
            return
        file, calling = code.co_filename.removeprefix(PACKAGE), caller.f_code.co_filename
        ours = calling.startswith(PACKAGE) or calling == __file__
        if ours and calling != code.co_filename and not file.startswith(APART) and f"{PACKAGE}core/" not in calling:
            self.steps.append((file, code.co_qualname))


@pytest.fixture(scope="module")
def followed() -> Follower:
    world = born(GENERAL_SEED, 0, 0)
    follower = Follower()
    follower.answered = True
    leader = wait_leader(world)
    assert leader.fast is None, "the general path"
    assert leader.signer is not None
    validator = world.validators[0]
    deliver = validator.deliver

    def delivered(*arguments: Any, **named: Any) -> None:
        follower.answered = True
        deliver(*arguments, **named)

    validator.deliver = delivered  # type: ignore[method-assign]
    world.after(0.0, validator.poll)
    while world.stats.get("signed", 0) < VOTES_BEFORE:
        world.run_until(world.now + 0.001)
    for node in world.nodes.values():
        assert node.cluster is not None
        follower.follow(node.cluster, "on_signer", lambda message: isinstance(message, Reserve))
        follower.follow(node.cluster, "on_frame", lambda _from, said: isinstance(decode(said), Promise | Promised))
    follower.follow(leader.signer.chain, "on_permit")
    follower.follow(leader.signer.chain, "submit")
    submit = leader.signer.chain.submit

    def begins(*arguments: Any, **named: Any) -> None:
        """One vote is followed, from here; what comes late of the one before is not counted."""
        follower.answered = bool(follower.steps)
        submit(*arguments, **named)

    leader.signer.chain.submit = begins  # type: ignore[method-assign]
    until = world.now + 1.0
    while (not follower.steps or not follower.answered) and world.now < until:
        world.run_until(world.now + 0.001)
    world.close_all()
    assert follower.answered, "the vote was answered"
    return follower


def section() -> str:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    return text.split("\n## Follow a vote\n")[1].split("\n## ")[0]


def steps_of(text: str) -> set[Step]:
    return {(file, name) for one in STEP.findall(text) for file, name in ((one[2], one[0]), (one[2], one[1])) if name}


def test_a_vote_takes_few_functions_in_few_files(followed: Follower) -> None:
    functions = set(followed.steps)
    files = {file for file, _ in functions}
    assert len(functions) <= FUNCTIONS_MAX, sorted(functions)
    assert len(files) <= FILES_MAX, sorted(files)


def test_the_node_is_entered_once_a_message(followed: Follower) -> None:
    """The reservation, a member's request and its answer at least: what the node's
    parts call is in the parts.
    """
    assert followed.node_entered.count(1) >= 3
    assert set(followed.node_entered) == {0, 1}, "0: the signer's process"


def test_the_walk_in_the_documents_is_the_vote_that_was_followed(followed: Follower) -> None:
    walked = steps_of(ITALIC.sub("", section()))
    assert walked == set(followed.steps)


def test_every_function_that_the_walk_names_is_there() -> None:
    named = steps_of(section())
    assert len(named) > FUNCTIONS_MAX, "the shells, too"
    for file, name in named:
        found: Any = importlib.import_module("cometkms." + file.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)
        assert callable(found) or isinstance(found, property), (file, name)


def test_the_walk_says_how_many_there_are(followed: Follower) -> None:
    functions = set(followed.steps)
    said = f"{len(functions)} functions are called from another file, in {len({file for file, _ in functions})} files"
    assert said in " ".join(section().split())


def test_every_function_of_c_that_the_documents_name_is_defined_there() -> None:
    hot_path = (ROOT / "docs" / "ARCHITECTURE.md").read_text().split("\n## The hot path in C\n")[1].split("\n## ")[0]
    named = re.findall(r"`(\w+)` \(`(csrc/\w+\.c)`\)", hot_path)
    assert len(named) >= 15
    for name, file in named:
        assert re.search(rf"^(static )?\w[\w *]*\b{name}\([^;]*\{{", (ROOT / file).read_text(), re.M), (name, file)
