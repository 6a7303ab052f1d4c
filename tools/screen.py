"""What scripts need that drive a napari window themselves: a screen, and a turning event loop."""

import os
import shutil
import sys


def on_a_screen() -> None:
    """Start this program again under Xvfb where there is no screen."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        server = shutil.which("xvfb-run")
        if server is None:
            sys.exit("There is no screen, and xvfb-run is not installed: install the package xvfb.")
        os.execv(server, [server, "-a", "-s", "-screen 0 1400x1000x24", sys.executable, *sys.argv])


def turn_for(seconds: float) -> None:
    """Turn the event loop for a while, as a window does that nobody touches."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec()
