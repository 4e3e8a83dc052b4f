"""Whom the signer runs as."""

import ctypes
import os
import pwd

import pytest

from cometkms.errors import ConfigError
from cometkms.hardening import account
from cometkms.hardening.account import (
    CAP_DAC_OVERRIDE,
    Account,
    ProcStatus,
    become,
    capabilities,
    choose_account,
    give_up_capabilities,
)
from cometkms.limits import SIGNER_UID
from tests.unit.hardening.child import in_child, outcome

ENTRY = pwd.struct_passwd(("cmkms-signer", "x", 991, 992, "", "/", "/usr/sbin/nologin"))


def nobody_is_called(name: object) -> pwd.struct_passwd:
    raise KeyError(name)


def test_the_default_is_the_account_made_for_it_else_a_number_of_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwnam", {"cmkms-signer": ENTRY}.__getitem__)
    assert choose_account("") == Account("cmkms-signer", 991, 992)
    monkeypatch.setattr(pwd, "getpwnam", nobody_is_called)
    monkeypatch.setattr(pwd, "getpwuid", nobody_is_called)
    assert choose_account("") == Account("", SIGNER_UID, SIGNER_UID)
    assert 61184 <= SIGNER_UID <= 65519


def test_a_name_a_number_and_root() -> None:
    assert choose_account("root") == choose_account("0") == Account("root", 0, 0)
    assert choose_account("54321").uid == 54321
    assert str(choose_account("54321")) == "uid 54321"


@pytest.mark.parametrize("wanted", ["no-such-account", "99999999999", "-1"])
def test_no_such_account_is_told_with_its_cure(wanted: str) -> None:
    with pytest.raises(ConfigError, match="signer_user"):
        choose_account(wanted)


def seen_after(step: object) -> dict[str, object]:
    """What the kernel says of a process after it."""

    def life() -> dict[str, object]:
        with ProcStatus() as status:
            step()  # type: ignore[operator]
            seen = status.read()
        numbers = ctypes.CDLL(None).prctl(7, 0, 0, 0, 0)  # PR_GET_KEEPCAPS
        fields = {name: sorted(capabilities(seen, name)) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")}
        return {
            **fields,
            "uids": seen["Uid"].split(),
            "gids": seen["Gid"].split(),
            "groups": seen["Groups"],
            "keeps": numbers,
            "back": [outcome(lambda: os.setuid(0)), outcome(lambda: os.setgroups([0]))],
        }

    return in_child(life)


def test_root_becomes_another_user_for_good() -> None:
    """Tests as root: all of it.

    As another user: nothing can be become, and what there is of capabilities goes.
    """
    if os.geteuid() != 0:
        seen = seen_after(give_up_capabilities)
        assert seen["CapEff"] == seen["CapPrm"] == []
        return
    seen = seen_after(lambda: become(Account("", 62000, 62001), frozenset()))
    assert seen["uids"] == ["62000"] * 4
    assert seen["gids"] == ["62001"] * 4
    assert seen["groups"] == ""
    assert seen["CapEff"] == seen["CapPrm"] == seen["CapInh"] == seen["CapAmb"] == seen["CapBnd"] == []
    assert seen["keeps"] == 0
    assert seen["back"] == ["EPERM", "EPERM"]


def test_what_is_kept_is_kept_and_no_more() -> None:
    if os.geteuid() != 0:
        with pytest.raises(AssertionError, match="Operation not permitted"):
            seen_after(lambda: become(Account("", 62000, 62001), frozenset({CAP_DAC_OVERRIDE})))
        return
    seen = seen_after(lambda: become(Account("", 62000, 62001), frozenset({CAP_DAC_OVERRIDE})))
    assert seen["CapEff"] == seen["CapPrm"] == [CAP_DAC_OVERRIDE]
    assert seen["CapInh"] == seen["CapAmb"] == seen["CapBnd"] == []


def test_root_without_its_capabilities_is_still_root_by_number() -> None:
    seen = seen_after(lambda: become(Account("", os.geteuid(), os.getegid()), frozenset()))
    assert seen["uids"] == [str(os.geteuid())] * 4
    assert seen["CapEff"] == seen["CapPrm"] == []


def test_capabilities_are_read_as_the_kernel_writes_them() -> None:
    assert capabilities({"CapEff": "00000000a80425fb"}) >= {0, 1, 5, 6, 7}
    assert capabilities({"CapPrm": "0000000000000000"}, "CapPrm") == frozenset()
    assert account.DEFAULT_ACCOUNT == "cmkms-signer"
