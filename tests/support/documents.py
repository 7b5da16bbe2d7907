"""The commands in documents, as a reader pastes them."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shell_blocks(name):
    """Return the blocks of the document that a shell runs, in their order."""
    return SHELL_BLOCK.findall((ROOT / name).read_text())


def fresh_clone(folder):
    """Put `./run` and an empty home into the folder. Return the environment of a new user."""
    (folder / "run").symlink_to(ROOT / "run")
    home = folder / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
