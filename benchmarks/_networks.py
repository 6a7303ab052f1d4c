"""Networks fitted for a moment, so that their outputs, and so the errors of reduced precision, look like real ones."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from napari_vstain.core.models.files.checkpoint import save_checkpoint
from napari_vstain.core.models.files.onnx_file import export_onnx
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics
from napari_vstain.core.models.unet import DEFAULT_FEATURES, LARGE_FEATURES, UNet

FEATURES = {"default": DEFAULT_FEATURES, "large": LARGE_FEATURES}
_SOURCE = Statistics(mean=1000, std=200, median=1000, iqr=270)
_TARGET = Statistics(mean=0, std=1, median=0, iqr=1)
"""The target's units are the network's own, so that errors are measured before de-normalization."""


@dataclass(frozen=True)
class Model:
    """A network on disk and in memory."""

    network: nn.Module
    spec: ModelSpec
    onnx: Path
    checkpoint: Path

    @property
    def label(self) -> str:
        """Its levels."""
        return "U-Net " + "-".join(map(str, self.spec.config["init_args"]["features"]))


def cells(size: int, seed: int = 0) -> np.ndarray:
    """Return an image of blobs and noise, (1, Y, X), uint16: 1000 ± 200 grey values."""
    generator = np.random.default_rng(seed)
    tile = min(size, 1024)
    noise = generator.standard_normal((tile, tile), dtype=np.float32)
    blobs = ndimage.gaussian_filter(noise, 6, mode="wrap")
    image = 1000 + 170 * blobs / blobs.std() + 100 * generator.standard_normal((tile, tile), dtype=np.float32)
    repeats = -(-size // tile)
    return np.tile(image.clip(0, 65535).astype(np.uint16), (repeats, repeats))[None, :size, :size]


def fitted_model(name: str, folder: Path, steps: int = 20) -> Model:
    """Return a U-Net that learned, in a few steps, to find bright blobs; written as checkpoint and ONNX file."""
    torch.manual_seed(0)
    features = FEATURES[name]
    network = UNet(features=features)
    _fit(network, steps)
    network.eval()
    field = receptive_field(network)
    spec = ModelSpec(
        name=name,
        sources=("Phase",),
        outputs=(OutputSpec(channels=("Nuclei",)),),
        stride=field.stride,
        halo=field.halo,
        tile_exact=field.tile_exact,
        statistics={"Phase": _SOURCE, "Nuclei": _TARGET},
        config={"class_path": "napari_vstain.core.models.unet.UNet", "init_args": {"features": list(features)}},
    )
    checkpoint = folder / f"{name}.ckpt"
    spec = save_checkpoint(checkpoint, spec, network)
    return Model(network, spec, export_onnx(network, spec, folder / f"{name}.onnx"), checkpoint)


def _fit(network: nn.Module, steps: int) -> None:
    image = (cells(1024)[0].astype(np.float32) - _SOURCE.mean) / _SOURCE.std
    smooth = ndimage.gaussian_filter(image, 3)
    target = np.tanh(2 * smooth / smooth.std())
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    generator = np.random.default_rng(0)
    for _ in range(steps):
        corners = generator.integers(0, 1024 - 96, (4, 2))
        batch, wanted = (
            torch.from_numpy(np.stack([a[None, y : y + 96, x : x + 96] for y, x in corners])) for a in (image, target)
        )
        optimizer.zero_grad()
        nn.functional.mse_loss(network(batch), wanted).backward()
        optimizer.step()
