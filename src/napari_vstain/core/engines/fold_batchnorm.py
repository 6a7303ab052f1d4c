"""Fold batch normalization into the convolutions before it: the same numbers with fewer passes over memory."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose convolutions carry the batch normalization that follows them.

    Only neighbours in an `nn.Sequential` are folded: elsewhere the order of calls is not known.
    """
    made = copy.deepcopy(network).eval()
    for module in list(made.modules()):
        if isinstance(module, nn.Sequential):
            _fold_neighbours(module)
    return made


def relative_rms(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the RMS difference over the standard deviation of what was expected."""
    scale = float(expected.double().std())
    difference = float((found.double() - expected.double()).square().mean().sqrt())
    return difference / scale if scale > 0 else float(difference > 0)


def _fold_neighbours(sequence: nn.Sequential) -> None:
    for (first, convolution), (second, norm) in list(pairwise(sequence.named_children())):
        if isinstance(convolution, _CONVOLUTIONS) and isinstance(norm, _NORMS) and norm.running_mean is not None:
            setattr(sequence, first, fuse_conv_bn_eval(convolution, norm))
            setattr(sequence, second, nn.Identity())
