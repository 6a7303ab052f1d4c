"""Run a tutorial's commands and write what they print under them: `python docs/write_tutorial.py FOLDER`.

FOLDER holds what the tutorial downloads (`bootcamp`, a clone of justinbois/bootcamp); the study is made in it.
"""

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parent / "tutorials" / "ecoli.md"
BLOCK = re.compile(r"^```bash\n(?P<commands>.*?)^```\n(?:\n```text\n.*?^```\n)?", re.DOTALL | re.MULTILINE)
TOOK = re.compile(r"<!-- took -->.*?<!-- end -->")


def commands(block: str) -> Iterator[list[str]]:
    """Yield each command of a block as a shell splits it."""
    for line in block.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def run_block(block: str, folder: Path) -> tuple[str, Path]:
    """Return what the commands print, with paths as short as they can be, and the folder they end in."""
    said = ""
    for words in commands(block):
        if words[0] == "cd":
            folder = folder / words[1]
        elif words[0] == "vstain":
            said += _run(words[1:], folder)
    return said, folder


def page(text: str, folder: Path) -> str:
    """Return the page with fresh output under every block, and the time that the whole took."""
    root, began, parts, last = folder, time.monotonic(), [], 0
    for block in BLOCK.finditer(text):
        said, folder = run_block(block["commands"], folder)
        shown = said.replace(f"{root.as_posix()}/", "")
        output = f"\n```text\n{shown}```\n" if said else ""
        parts.append(f"{text[last : block.start()]}```bash\n{block['commands']}```\n{output}")
        last = block.end()
    minutes = (time.monotonic() - began) / 60
    took = f"<!-- took -->{minutes:.1f} minutes on {len(os.sched_getaffinity(0))} cores of {_processor()}<!-- end -->"
    return TOOK.sub(took, "".join([*parts, text[last:]]))


def _run(arguments: list[str], folder: Path) -> str:
    print("vstain", *arguments, flush=True)
    command = [sys.executable, "-m", "napari_vstain", *arguments, "--progress", "none"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout, flush=True)
    done.check_returncode()
    return done.stdout


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), Path(sys.argv[1]).absolute()), encoding="utf-8")
