"""The table of key types: in Python and C alike, and what is read from it."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from cometkms._native import ffi, lib

from cometkms import libraries, limits
from cometkms.core.interface import Core
from cometkms.core.native import keytypes as native_types
from cometkms.core.pure import keytypes as pure_types
from cometkms.errors import KeyFileError, OperatorError
from cometkms.keytypes import (
    BLS12_381,
    ED25519,
    KEY_TYPES,
    SECP256K1,
    SECP256K1ETH,
    SIGNATURE_SIZES,
    KeyType,
    by_name,
    by_number,
    by_private_json,
    by_public_json,
    raw_of,
    row_key,
    type_of,
    typed,
)
from cometkms.model import Row


def key_of(key_type: KeyType) -> bytes:
    return typed(key_type, b"\x02" * key_type.public_bytes)


@pytest.mark.parametrize("key_type", KEY_TYPES, ids=lambda one: one.name)
def test_c_has_the_same_row_for_each_type(key_type: KeyType) -> None:
    row = lib.ck_key_type_of(key_type.number)
    assert ffi.string(row.name).decode() == key_type.name
    assert (row.number, row.public_len, row.signature_len) == (
        key_type.number,
        key_type.public_bytes,
        key_type.signature_bytes,
    )
    assert row.secret_len == key_type.secret_bytes
    assert any(row.amino) == key_type.in_amino


def test_c_has_no_other_type() -> None:
    numbers = [number for number in range(-1, 32) if lib.ck_key_type_of(number) != ffi.NULL]
    assert numbers == [one.number for one in KEY_TYPES]


@pytest.mark.parametrize("key_type", [one for one in KEY_TYPES if one.in_amino], ids=lambda one: one.name)
def test_aminos_prefix_is_that_of_the_registered_name(key_type: KeyType) -> None:
    """go-amino: SHA-256 of the name, zeros skipped, three bytes skipped, zeros skipped, four bytes."""
    digest = hashlib.sha256(key_type.public_json.encode()).digest().lstrip(b"\0")[3:].lstrip(b"\0")
    assert bytes(lib.ck_key_type_of(key_type.number).amino) == digest[:4]


def test_names_and_numbers_lead_to_the_row() -> None:
    for one in KEY_TYPES:
        assert (
            by_number(one.number)
            is by_name(one.name)
            is by_public_json(one.public_json)
            is by_private_json(one.private_json)
            is one
        )
    for found in (by_number(4), by_number(0), by_name("ml_dsa_65"), by_public_json(None), by_private_json(7)):
        assert found is None


def test_the_bounds_are_those_of_the_largest_type() -> None:
    assert max(one.public_bytes for one in KEY_TYPES) == limits.PUBLIC_KEY_MAX_BYTES
    assert max(one.signature_bytes for one in KEY_TYPES) == limits.SIGNATURE_MAX_BYTES
    assert max(one.secret_bytes for one in KEY_TYPES) == limits.SECRET_MAX_BYTES
    assert {0, 64, 65, 96} == SIGNATURE_SIZES


@pytest.mark.parametrize("key_type", KEY_TYPES, ids=lambda one: one.name)
def test_a_public_key_tells_its_type(key_type: KeyType) -> None:
    raw = bytes(range(key_type.public_bytes))
    public_key = typed(key_type, raw)
    assert (type_of(public_key), raw_of(public_key)) == (key_type, raw)
    assert len(row_key(public_key)) == 32
    for size in (0, key_type.public_bytes - 1, key_type.public_bytes + 1):
        with pytest.raises(ValueError, match="bytes"):
            typed(key_type, bytes(size))


def test_an_ed25519_key_is_what_it_was() -> None:
    """Stores, members and agents of earlier versions know no other form."""
    assert typed(ED25519, b"k" * 32) == row_key(b"k" * 32) == b"k" * 32


def test_one_point_under_two_types_is_two_keys() -> None:
    one, other = key_of(SECP256K1), key_of(SECP256K1ETH)
    assert one != other
    assert row_key(one) != row_key(other)
    assert row_key(one) == hashlib.sha256(b"secp256k1\0" + raw_of(one)).digest()


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"k" * 31,
        b"k" * 33,
        b"\x02" + b"k" * 32,
        b"\x01" + b"k" * 33,
        b"\x04" + b"k" * 33,
        b"\x03" + b"k" * 33,
        b"\x02" + b"k" * 96,
    ],
)
def test_bytes_that_are_no_public_key_are_refused(core: Core, wrong: bytes) -> None:
    for function in (type_of, raw_of, row_key):
        with pytest.raises(ValueError, match="no public key"):
            function(wrong)
    with pytest.raises(ValueError, match="no public key"):
        Row(wrong, "c")
    assert not core.verify(wrong, b"m", bytes(64))
    with pytest.raises(KeyFileError, match="no public key"):
        core.outside_slot(wrong, lambda _: b"", "c")


def test_rows_are_the_same_by_the_32_bytes_that_a_store_has_of_the_key() -> None:
    public_key = key_of(SECP256K1)
    row, stored = Row(public_key, "c"), Row(row_key(public_key), "c")
    assert row == stored
    assert {row: 1}[stored] == 1
    assert (row.public_key, row.key, stored.key) == (public_key, row_key(public_key), row_key(public_key))
    assert row != Row(key_of(SECP256K1ETH), "c")
    assert row != Row(public_key, "d")


@pytest.mark.parametrize(
    ("key_type", "package", "extra"), [(SECP256K1, "coincurve", "secp256k1"), (BLS12_381, "ckzg", "bls")]
)
@pytest.mark.parametrize("module", ["no_such_package._module", "no_such_module", "coincurve._no_such_module"])
def test_a_missing_package_is_named_with_the_extra(key_type: KeyType, package: str, extra: str, module: str) -> None:
    with pytest.raises(OperatorError, match=rf"need the package {package}.*cometkms\[{extra}\]"):
        libraries.extension_file(module, key_type)


#: Every function that is looked for, and none that signs: each says that it did, and
#: writes nothing.
FAKE = """
static char room[64];
void *secp256k1_context_create(void) { return room; }
""" + "".join(
    f"int {name}(void) {{ return 1; }}\n"
    for name in (*pure_types.secp256k1._ARGUMENTS, *pure_types.bls12_381._ARGUMENTS)
)
LOAD = """
import sys
from cometkms import libraries
from cometkms.core import native
from cometkms.keytypes import by_name
from cometkms.core.native import keytypes
core, key_type = native.load(), by_name(sys.argv[1])
keytypes.extension_file = lambda *_: sys.argv[2]
try:
    core.require(key_type)
except Exception as error:
    print(type(error).__name__, error)
keytypes.extension_file = libraries.extension_file
core.require(key_type)
print("then the real one")
"""
#: Of each library one type, and how its functions' names begin.
LIBRARIES = pytest.mark.parametrize(
    ("key_type", "prefix"), [(SECP256K1, "secp256k1_"), (BLS12_381, "blst_")], ids=["coincurve", "ckzg"]
)


def loaded_in_c(key_type: KeyType, path: str) -> str:
    """What a process of its own says of that file as the library: a core that has
    loaded one keeps it.
    """
    command = [sys.executable, "-c", LOAD, key_type.name, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@LIBRARIES
def test_a_library_that_signs_otherwise_is_refused_by_c(key_type: KeyType, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "fake.c").write_text(FAKE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "fake.so", tmp_path / "fake.c"], check=True)
    said = loaded_in_c(key_type, str(tmp_path / "fake.so"))
    assert said.startswith(f"OperatorError {key_type.package} cannot be used for keys of type {key_type.name}")
    assert "signs a known text otherwise than CometBFT does" in said
    assert said.endswith("then the real one\n")


@LIBRARIES
def test_a_file_without_the_functions_is_refused_by_name(
    key_type: KeyType, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyNaCl's file is a library, and has none of these; a file that is no library at
    all is told, too.
    """
    other = libraries.extension_file("nacl._sodium", key_type)
    assert f"no symbol {prefix}" in loaded_in_c(key_type, other)
    assert f"OperatorError {key_type.package} cannot be used" in loaded_in_c(key_type, __file__)
    monkeypatch.setattr(pure_types, "extension_file", lambda *_: other)
    pure_types.scheme.cache_clear()
    try:
        with pytest.raises(OperatorError, match=f"{key_type.package} cannot be used for keys of type {key_type.name}"):
            pure_types.require(key_type)
    finally:
        pure_types.scheme.cache_clear()


@LIBRARIES
def test_a_library_that_signs_otherwise_is_refused(
    key_type: KeyType, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed, text, signature, sign = pure_types.secp256k1.KNOWN["secp256k1"]
    monkeypatch.setitem(pure_types.secp256k1.KNOWN, "secp256k1", (seed, text + b"x", signature, sign))
    seed, text, signature = pure_types.bls12_381.KNOWN
    monkeypatch.setattr(pure_types.bls12_381, "KNOWN", (seed, text + b"x", signature))
    pure_types.scheme.cache_clear()
    try:
        with pytest.raises(OperatorError, match="signs a known text otherwise"):
            pure_types.require(key_type)
    finally:
        pure_types.scheme.cache_clear()


def test_every_type_has_its_functions_in_both_cores() -> None:
    others = {one.name for one in KEY_TYPES} - {ED25519.name}
    assert set(native_types._LOADERS) == others
    assert set(pure_types._SCHEMES) == others | {ED25519.name}
