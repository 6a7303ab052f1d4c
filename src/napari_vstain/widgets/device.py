"""The device line: what computes here. It asks torch only once something else has loaded it."""

import os
import sys

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_vstain.core.progress import Progress
from napari_vstain.widgets.kit.style import as_role
from napari_vstain.widgets.viewer_context import ViewerContext

_RETRY_MS = 1000


class DeviceLine(QLabel):
    """``NVIDIA H200 · 139 GB``, or ``CPU · 2 cores``, with what that means in the tooltip."""

    def __init__(self, context: ViewerContext) -> None:
        super().__init__(f"CPU · {os.cpu_count()} cores")
        self._context = context
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        as_role(self, "device")
        self._timer = QTimer(self)
        self._timer.setInterval(_RETRY_MS)
        self._timer.timeout.connect(self._ask)
        self._timer.start()

    def _ask(self) -> None:
        if "torch" in sys.modules:
            self._timer.stop()
            self._context.pump.call(self._context.session, describe_device, self._show, lambda _: None, self)

    def _show(self, answer: tuple[str, str]) -> None:
        text, meaning = answer
        self.setText(text)
        self.setToolTip(meaning)


def describe_device(progress: Progress) -> tuple[str, str]:
    """Return ``(line, tooltip)`` of the device that training would use; call it off the main thread."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return f"{name} · {free / 2**30:.0f} of {total / 2**30:.0f} GB free", "Training and prediction use this GPU."
    if getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        return "Apple GPU (MPS)", "Training and prediction use this GPU."
    return f"CPU · {os.cpu_count()} cores", "No GPU was found: prediction is fine, training takes longer."
