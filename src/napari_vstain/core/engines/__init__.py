"""Engines: torch, ONNX Runtime, OpenVINO. Each is imported only when it is used."""

from napari_vstain.core.arrays import Array
from napari_vstain.core.engines.base import Engine, EngineName, OutOfMemory, Precision
from napari_vstain.core.engines.load import installed_engines, load_engine

__all__ = ["Array", "Engine", "EngineName", "OutOfMemory", "Precision", "installed_engines", "load_engine"]
