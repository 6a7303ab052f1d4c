"""Engines: torch, ONNX Runtime, OpenVINO. Each is imported only when it is used."""

from napari_vstain.core.inference.engines.base import Array, Engine, EngineName, OutOfMemory, Precision
from napari_vstain.core.inference.engines.loading import installed_engines, load_engine

__all__ = ["Array", "Engine", "EngineName", "OutOfMemory", "Precision", "installed_engines", "load_engine"]
