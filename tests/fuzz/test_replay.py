"""Every decoder in C under ASan and UBSan: the corpus and a bounded number of mutations. `make fuzz` goes on longer."""

from pathlib import Path

import pytest

from tests.fuzz.run import ENTRIES, build, corpus, run


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_corpus_and_its_mutations_meet_no_sanitizer(entry: str, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    run(build(entry, tmp_path), corpus(tmp_path / "corpus"), 20_000, 1)
