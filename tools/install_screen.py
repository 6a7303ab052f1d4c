"""Make sure that Qt finds a screen on Linux: install Xvfb and Qt's X libraries, or say how to."""

import os
import shutil
import subprocess
import sys
from ctypes.util import find_library

PACKAGES = (
    "xvfb libegl1 libgl1 libopengl0 libxkbcommon-x11-0 libdbus-1-3 libxcb-cursor0 libxcb-icccm4 libxcb-image0 "
    "libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0"
).split()
LIBRARIES = "EGL GL OpenGL xkbcommon-x11 dbus-1 xcb-cursor xcb-icccm xcb-image xcb-keysyms xcb-randr".split()


def main() -> int:
    """Return 0 when there is nothing to install or it was installed, 1 otherwise."""
    if not sys.platform.startswith("linux") or not _missing():
        return 0
    commands = ["apt-get update -qq", f"apt-get install -y -qq --no-install-recommends {' '.join(PACKAGES)}"]
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        return max(subprocess.run(command.split(), env=environment).returncode for command in commands)
    print(f"Missing: {', '.join(_missing())}. Install them first:", *(f"  sudo {c}" for c in commands), sep="\n")
    return 1


def _missing() -> list[str]:
    screen = [] if shutil.which("Xvfb") else ["Xvfb"]
    return screen + [f"lib{name}" for name in LIBRARIES if find_library(name) is None]


if __name__ == "__main__":
    sys.exit(main())
