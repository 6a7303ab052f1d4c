"""An engine runs a network on a batch: the only thing that prediction asks of a framework."""

from abc import ABC, abstractmethod
from enum import StrEnum

from napari_vstain.core.arrays import Array
from napari_vstain.core.progress import CancelToken


class EngineName(StrEnum):
    """What can run a network; AUTO measures which of them is the fastest here."""

    AUTO = "auto"
    TORCH = "torch"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """What a network computes in; AUTO leaves float32 only where it gains and the error stays small."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Engine(ABC):
    """A network ready to run. It sees normalized intensities and returns normalized ones, whatever its file does.

    What an engine may do besides `run` says here that it does not: an engine that does says so itself.
    """

    name: str
    """``torch``, ``onnxruntime`` or ``openvino``."""
    device: str
    """What it runs on, for people: ``CPU (2 threads)``, ``NVIDIA H200``."""
    precision: str
    """``float32``, ``bfloat16`` or ``float16``."""
    reason: str
    """Why this engine, for people: ``fastest of 3: 2.8 Mpx/s (onnxruntime 2.6, torch 0.5)``."""

    @abstractmethod
    def run(self, batch: Array, token: CancelToken | None = None) -> dict[str, Array]:
        """Return the outputs by task: float32, C-contiguous, the caller's own memory.

        Parameters
        ----------
        batch : float32 array, (B, C, Y, X) or (B, C, Z, Y, X)
            Normalized sources, C-contiguous; sizes are multiples of the network's stride.
        token : CancelToken, optional
            An engine that can be interrupted stops in the middle of the batch.

        Raises
        ------
        Cancelled
            When it was interrupted.
        OutOfMemory
            When the batch does not fit; the engine stays usable.
        """

    def trimmed(self, halo: tuple[int, int]) -> "Engine | None":
        """Return this engine for tiles whose halo, (Y, X) in pixels, it cuts away inside; None when it does not."""
        return None

    def footprint(self, shape: tuple[int, ...]) -> float | None:
        """Return the bytes that it holds for each pixel of a batch of `shape`; None when it cannot tell."""
        return None

    @property
    def free_memory_bytes(self) -> int | None:
        """Memory that its device may still give; None where that is the computer's own."""
        return None


class OutOfMemory(MemoryError):
    """A batch that does not fit in the device's memory: the caller halves the tile and goes on."""
