"""How soon the plugin is there: found by napari, and its workbench open.

python benchmarks/startup.py [--quick]     prints JSON lines; starts Xvfb itself where there is no screen
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from _report import report, report_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from screen import on_a_screen

DISCOVERY = """
import sys, time
from npe2 import PluginManager, PluginManifest
PluginManifest.from_distribution("napari")  # what npe2 itself loads at first is not ours
began = time.perf_counter()
PluginManifest.from_distribution("napari-vstain")
print(1000 * (time.perf_counter() - began))
assert not [name for name in sys.modules if name.startswith("napari_vstain.")], "discovery imported the plugin"
"""
WORKBENCH = """
import os, time
os.environ["VSTAIN_WARM_UP"] = "0"
import napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
QApplication.processEvents()
began = time.perf_counter()
viewer.window.add_plugin_dock_widget("napari-vstain", "Workbench")
QApplication.processEvents()
print(time.perf_counter() - began)
viewer.close()
"""


def main() -> None:
    """Measure in fresh interpreters."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    n = 3 if parser.parse_args().quick else 7
    report_machine(os.cpu_count() or 1)
    printed(WORKBENCH)  # which compiles
    report("discovery_ms", median(printed(DISCOVERY) for _ in range(n)), "ms", "manifest, in process", n=n)
    report("workbench_open_s", median(printed(WORKBENCH) for _ in range(n)), "s", "in a window that is open", n=n)


def printed(script: str) -> float:
    """Return the number that a script prints last.

    Our files are compiled as an installer compiles them: where Python must not write bytecode, every start would
    compile them again, which no user waits for.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(run.stdout.split()[-1])


if __name__ == "__main__":
    on_a_screen()
    main()
