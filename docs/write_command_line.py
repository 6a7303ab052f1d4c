"""Write docs/command_line.md from the program's own help."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "command_line.md"
HEAD = """# Command line

`vstain` does all that the docks do, from the same settings. Each verb saves its settings beside its result, and `vstain VERB -c that-file.yml` does the same again; `--set key=value` changes one of them, and a new `class_path` brings none of the arguments of the class that it replaces. In a settings file `${section.key}` stands for the value there, and a section `_aux` holds values that are only referred to. Commands find the workspace they are run in by themselves. Ctrl-C stops cleanly and keeps what was made.

Exit codes: 0 done, 1 an error (one sentence; `--debug` shows the traceback), 2 wrong usage, 130 stopped. `--progress json` prints a line of JSON for each report, for programs that start this one.

This page is written by `python docs/write_command_line.py`.
"""


def help_of(*arguments: str) -> str:
    """Return what the program says about itself or a verb."""
    command = [sys.executable, "-m", "napari_vstain", *arguments, "--help"]
    environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def page() -> str:
    """Return the page."""
    overview = help_of()
    verbs = re.findall(r"^  (\w+)  +", overview.partition("Verbs:")[2].partition("options:")[0], re.MULTILINE)
    sections = [f"## vstain {verb}\n\n```text\n{help_of(verb)}```\n" for verb in verbs]
    return "\n".join([HEAD, f"```text\n{overview}```\n", *sections])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
