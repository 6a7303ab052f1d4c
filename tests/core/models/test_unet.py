"""The U-Net keeps the shape it takes, in every kind of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.models.unet import UNet


@settings(max_examples=12, deadline=None)
@given(
    sources=st.integers(1, 3),
    targets=st.integers(1, 3),
    levels=st.integers(1, 4),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    batch=st.integers(1, 2),
)
def test_the_output_has_the_inputs_size_and_the_targets_channels(sources, targets, levels, size, batch):
    stride = 2 ** (levels - 1)
    network = UNet(sources, targets, features=[2] * levels).eval()
    shape = (size[0] * stride, size[1] * stride)
    assert network(torch.zeros(batch, sources, *shape)).shape == (batch, targets, *shape)


def test_a_window_of_slices_gives_as_many_slices():
    network = UNet(2, 3, features=(2, 4), dimensions="2.5D", z_window=5).eval()
    assert network(torch.zeros(1, 2, 5, 8, 12)).shape == (1, 3, 5, 8, 12)


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_a_stack_may_have_any_depth(depth):
    network = UNet(2, 3, features=(2, 4, 4), dimensions="3D", residual=True, skip="add").eval()
    assert network(torch.zeros(1, 2, depth, 8, 12)).shape == (1, 3, depth, 8, 12)


def test_channels_of_a_window_are_not_mixed_up_with_its_slices():
    network = UNet(1, 2, features=(2,), convolutions=1, dimensions="2.5D", z_window=3).eval()
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.arange(6.0))
    made = network(torch.zeros(1, 1, 3, 2, 2))
    assert made[0, :, :, 0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("wrong", [{"features": ()}, {"in_channels": 0}, {"features": (4, 0)}, {"convolutions": 0}])
def test_a_size_of_zero_is_refused(wrong):
    with pytest.raises(ValueError, match="must be at least 1"):
        UNet(**wrong)
