"""The corpus and seeded mutations of it run under ASan and UBSan without breaking a property; `make
fuzz` runs longer.
"""

from pathlib import Path

import pytest

from tests.fuzz import build

MUTATIONS = 20_000


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The replaying program of each entry, by its name."""
    directory = tmp_path_factory.mktemp("replayers")
    return {program.name: program for program in build.build_replayers(directory)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    build.write_corpus(directory)
    return directory


@pytest.mark.parametrize("entry", [entry.stem for entry in build.ENTRIES])
def test_the_corpus_and_its_mutations_break_no_property(
    entry: str, programs: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    inputs = len(list((corpus / entry).iterdir()))
    printed = build.run([str(programs[entry]), "--mutations", str(MUTATIONS), str(corpus / entry)], tmp_path)
    assert f"{inputs} inputs and {MUTATIONS} mutations of them" in printed


def test_every_decoder_of_the_codec_has_an_entry() -> None:
    codec = {"fuzz_decode_proto", "fuzz_decode_amino", "fuzz_sign_bytes", "fuzz_length"}
    assert codec <= {entry.stem for entry in build.ENTRIES}


BROKEN_ENTRIES = {
    "reads one byte too many": "return data[size] == 0x5a ? 1 : 0;",
    "breaks its own property": "REQUIRE(size > 1000); return 0;",
    "overflows a signed sum": "int sum = 2147483647; sum += (int)size; return sum == 7;",
}


@pytest.mark.parametrize("body", BROKEN_ENTRIES.values(), ids=BROKEN_ENTRIES.keys())
def test_a_broken_entry_is_caught_and_its_input_saved(body: str, tmp_path: Path) -> None:
    entry = tmp_path / "broken.c"
    header = build.CSRC / "fuzz" / "property.h"
    entry.write_text(
        f'#include "{header}"\nint LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {{ (void)data; {body} }}\n'
    )
    program, seed = tmp_path / "broken", tmp_path / "seed"
    seed.write_bytes(b"0123456789")
    main = build.CSRC / "fuzz" / "replay_main.c"
    flags = ["-std=c11", "-O0", "-D_GNU_SOURCE", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    build.run(["cc", *flags, str(entry), str(main), "-o", str(program)], tmp_path)
    with pytest.raises(RuntimeError, match="exit"):
        build.run([str(program), str(seed)], tmp_path)
    assert (tmp_path / "crash-input").read_bytes() == b"0123456789"
