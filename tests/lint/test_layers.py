"""CONTRIBUTING's picture of the layers and ARCHITECTURE's map show what `.importlinter`
holds the program to.
"""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def layers() -> list[str]:
    read = configparser.ConfigParser()
    read.read(ROOT / ".importlinter")
    return read["importlinter:contract:layers"]["layers"].split("\n")[1:]


def test_contributings_picture_is_the_list_of_layers() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    picture = text.partition("## Layers")[2].split("```\n")[1]
    names = r"\w+(?: \| \w+)*"
    drawn = [found[1] for line in picture.splitlines() if (found := re.match(rf"({names})(?:  |$)", line))]
    assert drawn == [layer for layer in layers() if layer != "__main__"]


def test_architectures_map_has_every_layer() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| (`[^|]+) \|", text.partition("## Map of the code")[2].partition("\n## ")[0], re.M)
    mapped = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    names = {name for layer in layers() for name in layer.split(" | ")} - {"__main__"}
    assert names - mapped == set()
    places = [(ROOT / name, ROOT / "cometkms" / name, ROOT / "cometkms" / f"{name}.py") for name in mapped]
    assert [paths for paths in places if not any(path.exists() for path in paths)] == []
