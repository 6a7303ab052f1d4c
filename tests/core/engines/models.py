"""Small networks of every kind, with normalization that is not the identity, and their specs."""

import numpy as np
import torch
from torch import nn

from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import Dimensions, ModelSpec, OutputSpec, Statistics
from napari_vstain.core.models.unet import UNet

KNOWN = Statistics(mean=100, std=20, median=95, iqr=25)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = UNet(2, 8, features=(8, 16))
        self.heads = nn.ModuleDict({"stain": nn.Conv2d(8, 2, 1), "cells": nn.Conv2d(8, 1, 1)})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        made = self.body(x)
        return {task: head(made) for task, head in self.heads.items()}


def unet(**options: object) -> nn.Module:
    """Return a U-Net in evaluation mode whose batch normalization has seen data."""
    return lively(UNet(**{"in_channels": 2, "features": (8, 16), **options}))


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give a network weights that neither drown nor flatten what it sees, as training does."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.uniform_(-0.5, 0.5, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.dim() > 1:
            nn.init.kaiming_normal_(tensor, generator=generator)
        elif name.endswith("bias"):
            tensor.uniform_(-0.1, 0.1, generator=generator)
    return network.eval()


def spec_of(network: nn.Module, dimensions: str = "2D", outputs=None, z_window: int = 1, **values: object) -> ModelSpec:
    field = receptive_field(network, dimensions)
    outputs = outputs or (OutputSpec(channels=("Nuclei",)),)
    names = ("Phase", "DIC", *(channel for output in outputs for channel in output.channels))
    return ModelSpec(
        sources=("Phase", "DIC"),
        outputs=outputs,
        dimensions=Dimensions(dimensions),
        z_window=z_window,
        stride=field.stride,
        halo=field.halo,
        statistics=dict.fromkeys(names, KNOWN),
        **values,
    )


def flat() -> tuple[nn.Module, ModelSpec]:
    network = unet()
    return network, spec_of(network)


def two_heads() -> tuple[nn.Module, ModelSpec]:
    network = lively(TwoHeads())
    outputs = (OutputSpec(channels=("Nuclei", "Membrane")), OutputSpec(task="cells", channels=("Cells",)))
    return network, spec_of(network, outputs=outputs)


def window() -> tuple[nn.Module, ModelSpec]:
    network = unet(dimensions="2.5D", z_window=5)
    return network, spec_of(network, "2.5D", z_window=5)


def volume() -> tuple[nn.Module, ModelSpec]:
    network = unet(dimensions="3D")
    return network, spec_of(network, "3D")


KINDS = {"2D": flat, "two outputs": two_heads, "2.5D": window, "3D": volume}


def batch_of(spec: ModelSpec, batch: int = 2, y: int = 48, x: int = 64, z: int = 6, seed: int = 0) -> np.ndarray:
    depth = {"2D": (), "2.5D": (spec.z_window,), "3D": (z,)}[spec.dimensions]
    shape = (batch, len(spec.sources), *depth, y, x)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def eager(network: nn.Module, batch: np.ndarray, spec: ModelSpec) -> dict[str, np.ndarray]:
    """Return what plain torch says: the reference of every engine."""
    with torch.inference_mode():
        made = network(torch.from_numpy(batch))
    made = made if isinstance(made, dict) else {spec.outputs[0].task: made}
    return {task: tensor.numpy() for task, tensor in made.items()}


def relative_rms(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.sqrt(np.mean((found.astype(float) - expected) ** 2)) / expected.std())
