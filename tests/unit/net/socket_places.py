"""What may be at a unix socket's path, in its place."""

import os
import socket
from pathlib import Path

#: By what is at the path: what is said of it.
WORDS = {
    "folder": "it is no socket, but a directory",
    "file": "it is no socket, but a file",
    "fifo": "it is no socket, but a FIFO or a device",
    "link": "it is no socket, but a link to where nothing is",
    "to_folder": "it is no socket, but a directory",
    "stale": "connection refused",
    "to_stale": "connection refused",
    "none": "no such file or directory",
    "file/x": "not a directory",
}


def make_places(folder: Path) -> dict[str, str]:
    """What WORDS tells of, in `folder`; what is said, by path."""
    (folder / "file").touch()
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(folder / "away")
    (folder / "to_folder").symlink_to(folder / "folder")
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(folder / "stale"))
    (folder / "to_stale").symlink_to(folder / "stale")
    return {str(folder / name): words for name, words in WORDS.items()}
