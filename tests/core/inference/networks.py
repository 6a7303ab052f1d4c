"""Small torch networks of every kind, behind the Engine Protocol: what the tests of inference predict with."""

import numpy as np
import torch
from torch import nn

from napari_vstain.core.engines import Engine, OutOfMemory
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics

torch.set_num_threads(1)


class TinyUNet(nn.Module):
    """A U-Net of `depth` poolings with one 3×3 convolution at each level on each side."""

    def __init__(self, channels_in=1, channels_out=1, depth=2, dimensions=2, width=4, seed=0, norm=False):
        super().__init__()
        torch.manual_seed(seed)
        conv = nn.Conv2d if dimensions == 2 else nn.Conv3d
        pool = nn.MaxPool2d if dimensions == 2 else nn.MaxPool3d
        self.down = nn.ModuleList([conv(channels_in if i == 0 else width, width, 3, padding=1) for i in range(depth)])
        self.bottom = conv(width if depth else channels_in, width, 3, padding=1)
        self.up = nn.ModuleList([conv(2 * width, width, 3, padding=1) for _ in range(depth)])
        self.head = conv(width, channels_out, 1)
        self.pool = pool(2 if dimensions == 2 else (1, 2, 2))
        self.grow = nn.Upsample(scale_factor=2 if dimensions == 2 else (1, 2, 2), mode="nearest")
        self.norm = nn.InstanceNorm2d(width) if norm else nn.Identity()
        self.eval()

    def forward(self, x):
        skips = []
        for layer in self.down:
            x = self.norm(torch.relu(layer(x)))
            skips.append(x)
            x = self.pool(x)
        x = torch.tanh(self.bottom(x))
        for layer, skip in zip(self.up, reversed(skips), strict=True):
            x = torch.relu(layer(torch.cat([self.grow(x), skip], 1)))
        return self.head(x)


class CentreSlice(nn.Module):
    """A 2.5D network that gives the centre slice of its window."""

    def __init__(self, window=5):
        super().__init__()
        torch.manual_seed(1)
        self.mix = nn.Conv3d(1, 3, (window, 3, 3), padding=(0, 1, 1))
        self.head = nn.Conv3d(3, 1, 1)
        self.eval()

    def forward(self, x):
        return self.head(torch.relu(self.mix(x)))


class TwoHeads(nn.Module):
    """A network with a full-size output and one of half the size."""

    def __init__(self):
        super().__init__()
        self.trunk = TinyUNet(channels_out=3, depth=1)
        self.small = nn.Conv2d(3, 2, 2, stride=2)
        self.large = nn.Conv2d(3, 1, 1)
        self.eval()

    def forward(self, x):
        features = self.trunk(x)
        return {"stain": self.large(features), "small": self.small(features)}


class TorchEngine(Engine):
    """An engine with nothing to it: what `core.engines` does well, done plainly."""

    name, device, precision, reason = "torch", "CPU", "float32", ""

    def __init__(self, network, fits=None):
        self.network = network
        self.fits = fits
        self.runs = []

    def run(self, batch, token=None):
        assert batch.dtype == np.float32
        assert batch.flags.c_contiguous
        if self.fits is not None and batch[:, 0].size > self.fits:
            raise OutOfMemory
        self.runs.append(batch.shape)
        with torch.inference_mode():
            outputs = self.network(torch.from_numpy(batch))
        if not isinstance(outputs, dict):
            outputs = {"stain": outputs}
        return {task: output.numpy() for task, output in outputs.items()}


def reach(depth):
    """Return a safe receptive-field radius of a TinyUNet, a multiple of its stride, in pixels."""
    stride = 2**depth
    radius = 2 * sum(2**level for level in range(depth)) + 2**depth + 2 * stride
    return -(-radius // stride) * stride


def spec_of(
    depth=2,
    channels_in=1,
    channels_out=1,
    dimensions="2D",
    z_window=1,
    halo_z=0,
    outputs=None,
    units=(1000, 300),
    **more,
):
    """Return the spec of a TinyUNet whose targets are `stain0…`, in `units` of (offset, divisor)."""
    sources = tuple(f"source{i}" for i in range(channels_in))
    outputs = outputs or (OutputSpec(channels=tuple(f"stain{i}" for i in range(channels_out))),)
    named = {channel for output in outputs for channel in output.channels}
    statistics = {name: Statistics(mean=100, std=20, median=99, iqr=25, p1=50, p99=160) for name in sources}
    statistics |= {
        name: Statistics(mean=units[0], std=units[1], median=900, iqr=400, p1=500, p99=2500) for name in named
    }
    stride = 2**depth
    return ModelSpec(
        sources=sources,
        outputs=outputs,
        dimensions=dimensions,
        z_window=z_window,
        stride=(1, stride, stride),
        halo=(halo_z, reach(depth), reach(depth)),
        statistics=statistics,
        weights="0" * 16,
        **more,
    )


def noise(shape, seed=0):
    """Return an image in the sources' raw units."""
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def relative_rms(a, b):
    """Return the RMS difference over the standard deviation; of a few pixels, over their RMS."""
    difference = np.sqrt(np.mean((a - b) ** 2))
    spread = np.std(b) if b.size >= 64 else np.sqrt(np.mean(b**2))
    return float(difference / spread) if difference else 0.0  # also where a network gives nothing but zeros
