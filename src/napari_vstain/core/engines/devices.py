"""What this computer can compute on, found without torch."""

import ctypes
import os
import platform
import sys
from functools import cache

from napari_vstain.core.errors import SettingsError


def cpu_threads(threads: int | None) -> int:
    """Return how many threads to compute with: all cores this process may use, or `threads` when given.

    Raises
    ------
    SettingsError
        When `threads` is less than one.
    """
    if threads is not None and threads < 1:
        raise SettingsError("threads", threads, "must be at least 1", "leave it out to use every core")
    return min(threads or _cores(), _cores())


def cpu_label(threads: int) -> str:
    """Return how a dock names the processor: ``CPU (2 threads)``."""
    return f"CPU ({threads} thread{'s' * (threads > 1)})"


@cache
def cpu_model() -> str:
    """Return the processor's name and features in one line, to tell one computer from another."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            wanted = ("model name", "flags", "Features")
            found = [line.split(":", 1)[1].strip() for line in lines if line.startswith(wanted)]
            return " ".join(dict.fromkeys(found)) or platform.processor()
    except OSError:
        return f"{platform.processor()} {platform.machine()}"


@cache
def cuda_devices() -> int:
    """Return how many CUDA devices the driver shows; 0 with no driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value


def device_index(device: str) -> int:
    """Return the number in ``cuda:1``; 0 for ``cuda``.

    Raises
    ------
    SettingsError
        When it is no device's name.
    """
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdecimal()):
        raise SettingsError("device", device, "is no device", "choose auto, cpu, cuda, cuda:<number> or mps")
    return int(number or 0)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
