"""A U-Net whose prediction of a pixel depends on nothing beyond its receptive field."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from napari_vstain.core.models.spec import Dimensions

DEFAULT_FEATURES = (16, 32, 64, 128)
"""Three downsamplings: radius 51 px, stride 8."""
LARGE_FEATURES = (32, 64, 128, 256, 512)
"""Four downsamplings: radius 107 px, stride 16."""


class UNet(nn.Module):
    """A U-Net of convolution, batch normalization and ReLU, exact when it is tiled.

    Downsampling takes the maximum of 2 × 2 pixels, upsampling is a transposed convolution of 2 × 2, and neither
    touches Z, so that a stack of any depth fits. Ronneberger et al. 2015, with `BatchNorm` so that in evaluation
    each output pixel is a function of its receptive field alone.

    Parameters
    ----------
    in_channels, out_channels : int
        Source and target channels.
    features : sequence of int
        Channels of each level, the finest first; one downsampling fewer than there are levels.
    convolutions : int
        Convolutions of 3 × 3 (× 3) in each block; every level but the coarsest has two blocks.
    residual : bool
        Add the input of a block to its output (Zhang et al. 2018).
    skip : {"concat", "add"}
        How a level's own features meet those from below; "add" computes less.
    dimensions : {"2D", "2.5D", "3D"}
        2D takes (B, C, Y, X). 2.5D takes (B, C, Z, Y, X) with exactly `z_window` slices, which it treats as
        channels, and returns as many. 3D takes (B, C, Z, Y, X) of any depth.
    z_window : int
        Slices of the window in 2.5D.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = DEFAULT_FEATURES,
        convolutions: int = 2,
        residual: bool = False,
        skip: Literal["concat", "add"] = "concat",
        dimensions: Literal["2D", "2.5D", "3D"] = "2D",
        z_window: int = 1,
    ) -> None:
        super().__init__()
        _check(in_channels, out_channels, features, convolutions, z_window)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.dimensions, self.z_window = Dimensions(dimensions), z_window
        folded = z_window if self.dimensions is Dimensions.WINDOW else 1
        volume = self.dimensions is Dimensions.THREE
        self.fold = _FoldZ() if folded > 1 or self.dimensions is Dimensions.WINDOW else nn.Identity()
        self.unfold = _UnfoldZ(folded) if self.dimensions is Dimensions.WINDOW else nn.Identity()
        levels = [in_channels * folded, *features]
        self.encoder = nn.ModuleList(_Block(a, b, convolutions, residual, volume) for a, b in pairwise(levels))
        self.pool = nn.MaxPool3d((1, 2, 2)) if volume else nn.MaxPool2d(2)
        upward = list(pairwise(reversed(features)))
        self.upsample = nn.ModuleList(_upsampling(a, b, volume) for a, b in upward)
        self.merge = nn.ModuleList(_Concat() if skip == "concat" else _Add() for _ in upward)
        widening = 2 if skip == "concat" else 1
        self.decoder = nn.ModuleList(_Block(b * widening, b, convolutions, residual, volume) for _, b in upward)
        self.head = (nn.Conv3d if volume else nn.Conv2d)(features[0], out_channels * folded, 1)

    def forward(self, source: Tensor) -> Tensor:
        """Return the prediction, (B, C, Y, X) or (B, C, Z, Y, X), of sources whose Y and X fit the stride."""
        x = self.fold(source)
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(self.pool(x) if skips else x)
            skips.append(x)
        skips.pop()
        for up, merge, block in zip(self.upsample, self.merge, self.decoder, strict=True):
            x = block(merge(up(x), skips.pop()))
        return self.unfold(self.head(x))


class _Block(nn.Module):
    """Convolutions of one level, each normalized and rectified."""

    def __init__(self, before: int, after: int, convolutions: int, residual: bool, volume: bool) -> None:
        super().__init__()
        convolution, norm = (nn.Conv3d, nn.BatchNorm3d) if volume else (nn.Conv2d, nn.BatchNorm2d)
        layers: list[nn.Module] = []
        for index in range(convolutions):
            layers.append(convolution(before if index == 0 else after, after, 3, padding=1, bias=False))
            layers.append(norm(after))
            if index < convolutions - 1 or not residual:
                layers.append(nn.ReLU(inplace=True))
        self.layers = nn.Sequential(*layers)
        self.shortcut = convolution(before, after, 1, bias=False) if residual else None
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.shortcut is None:
            return self.layers(x)
        return self.activation(self.layers(x) + self.shortcut(x))


class _Concat(nn.Module):
    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return torch.cat((coarse, fine), dim=1)


class _Add(nn.Module):
    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return coarse + fine


class _FoldZ(nn.Module):
    """(B, C, Z, Y, X) -> (B, C·Z, Y, X)."""

    pointwise = True

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2)


class _UnfoldZ(nn.Module):
    """(B, C·Z, Y, X) -> (B, C, Z, Y, X)."""

    pointwise = True

    def __init__(self, z_window: int) -> None:
        super().__init__()
        self.z_window = z_window

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.z_window))


def _upsampling(before: int, after: int, volume: bool) -> nn.Module:
    if volume:
        return nn.ConvTranspose3d(before, after, (1, 2, 2), (1, 2, 2), bias=False)
    return nn.ConvTranspose2d(before, after, 2, 2, bias=False)


def _check(in_channels: int, out_channels: int, features: Sequence[int], convolutions: int, z_window: int) -> None:
    for name, value in (
        ("in_channels", in_channels),
        ("out_channels", out_channels),
        ("number of features levels", len(features)),
        *(("features", level) for level in features),
        ("convolutions", convolutions),
        ("z_window", z_window),
    ):
        if value < 1:
            raise ValueError(f"UNet: {name} must be at least 1, not {value}")
