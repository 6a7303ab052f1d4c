"""The 2D U-Net of VisCy (0.4), as a network that takes its weights by their names and predicts the same."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn


class VisCyUNet2D(nn.Module):
    """VisCy's ``Unet2d``: convolution, ReLU, batch normalization; mean pooling and bilinear upsampling.

    Takes (B, C, Y, X), where VisCy takes (B, C, 1, Y, X). The names of its parts are those of VisCy's state
    dictionary, including convolutions that VisCy stores and does not use.

    Parameters
    ----------
    in_channels, out_channels : int
        Source and target channels.
    kernel_size : int or pair of int
        Odd size of every convolution, (Y, X).
    residual : bool
        Add a block's input to its output.
    num_blocks : int
        Downsamplings.
    num_block_layers : int
        Convolutions of each block.
    num_filters : sequence of int
        Channels of each level, `num_blocks` + 1 of them; empty for 16, 32, 64, …
    task : {"reg", "seg"}
        "seg" rectifies the output.
    dropout : float
        Without effect in VisCy 0.4, and here.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        kernel_size: int | Sequence[int] = 3,
        residual: bool = False,
        dropout: float = 0.2,
        num_blocks: int = 4,
        num_block_layers: int = 2,
        num_filters: Sequence[int] = (),
        task: Literal["reg", "seg"] = "seg",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.num_blocks = in_channels, out_channels, num_blocks
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        filters = list(num_filters) or [16 * 2**level for level in range(num_blocks + 1)]
        if len(filters) != num_blocks + 1:
            raise ValueError(f"num_filters must name {num_blocks + 1} levels, not {len(filters)}")
        for level, (before, after) in enumerate(pairwise([in_channels, *filters[:-1]])):
            self.add_module(f"down_conv_block_{level}", _Block(before, after, kernel, num_block_layers, residual))
        self.bottom_transition_block = _Block(filters[-2], filters[-1], kernel, num_block_layers, residual)
        for level, (below, here) in enumerate(pairwise(reversed(filters))):
            self.add_module(f"up_conv_block_{level}", _Block(below + here, here, kernel, num_block_layers, residual))
        self.terminal_block = _Terminal(filters[0], out_channels, kernel, rectify=task == "seg")
        self.down = nn.AvgPool2d(2)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, source: Tensor) -> Tensor:
        """Return the prediction, (B, C, Y, X), of sources whose Y and X are multiples of 2 to the `num_blocks`."""
        x, skips = source, []
        for level in range(self.num_blocks):
            x = self.get_submodule(f"down_conv_block_{level}")(x)
            skips.append(x)
            x = self.down(x)
        x = self.bottom_transition_block(x)
        for level in range(self.num_blocks):
            x = torch.cat([self.up(x), skips.pop()], dim=1)
            x = self.get_submodule(f"up_conv_block_{level}")(x)
        return self.terminal_block(x)


class _Block(nn.Module):
    """Convolutions of one level, each rectified and then normalized."""

    def __init__(self, before: int, after: int, kernel: tuple[int, ...], layers: int, residual: bool) -> None:
        super().__init__()
        self.layers = layers
        for index in range(layers):
            self.add_module(f"Conv2d_{index}", _convolution(before if index == 0 else after, after, kernel))
            self.add_module(f"batch_norm_{index}", nn.BatchNorm2d(after))
        self.resid_conv = nn.Conv2d(before, after, 1)
        self.relu = nn.ReLU()
        self.shortcut = _Shortcut(after - before) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        before = x
        for index in range(self.layers):
            x = self.get_submodule(f"batch_norm_{index}")(self.relu(self.get_submodule(f"Conv2d_{index}")(x)))
        if self.shortcut is None:
            return x
        return x + (self.resid_conv(before) if self.shortcut.surplus < 0 else self.shortcut(before))


class _Shortcut(nn.Module):
    """Puts channels of zeros in front, as many as a block adds."""

    pointwise = True

    def __init__(self, surplus: int) -> None:
        super().__init__()
        self.surplus = surplus

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, 0, 0, 0, self.surplus, 0))


class _Terminal(nn.Module):
    """The last convolution."""

    def __init__(self, before: int, after: int, kernel: tuple[int, ...], rectify: bool) -> None:
        super().__init__()
        self.Conv2d_0 = _convolution(before, after, kernel)
        self.resid_conv = nn.Conv2d(before, after, 1)
        self.activation: nn.Module = nn.ReLU() if rectify else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.Conv2d_0(x))


def _convolution(before: int, after: int, kernel: tuple[int, ...]) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, padding=tuple(size // 2 for size in kernel))
