"""A copy of a home on one machine is noticed, and nobody without the key can take its name."""

import os

import pytest

from cometkms.errors import BusyError
from cometkms.store.clone import name_of, take_name


def test_one_id_and_key_is_held_once_and_free_again_when_its_holder_ends() -> None:
    secret = os.urandom(32)
    first = take_name(secret, "node0")
    assert first is not None
    with pytest.raises(
        BusyError, match=r"runs the node 'node0' with this very key, from another home: .*cure: .*need two keys"
    ):
        take_name(secret, "node0")
    others = [take_name(secret, "node1"), take_name(os.urandom(32), "node0")]
    assert all(others), "another member, or another cluster, may live on the same machine"
    first.close()
    again = take_name(secret, "node0")
    assert again is not None
    for one in (*others, again):
        if one is not None:
            one.close()


def test_a_name_tells_nothing_of_the_secret_and_differs_with_it() -> None:
    secret = bytes(range(32))
    assert secret.hex() not in name_of(secret, "a")
    assert len({name_of(secret, "a"), name_of(secret, "b"), name_of(bytes(32), "a")}) == 3
