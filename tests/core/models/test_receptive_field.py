"""How far a network looks is computed exactly, and gradients agree."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import BasicUNet
from torch import nn
from torch.nn import functional

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.receptive_field.field import ReceptiveField, UnknownLayer
from napari_vstain.core.models.receptive_field.gradient_probe import probe_gradients
from napari_vstain.core.models.receptive_field.layer_walk import walk_layers
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import Dimensions, ModelSpec, OutputSpec
from napari_vstain.core.models.unet import DEFAULT_FEATURES, LARGE_FEATURES, UNet


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@st.composite
def unets(draw):
    return UNet(
        in_channels=draw(st.integers(1, 2)),
        out_channels=draw(st.integers(1, 2)),
        features=draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)),
        convolutions=draw(st.integers(1, 2)),
        residual=draw(st.booleans()),
        skip=draw(st.sampled_from(["concat", "add"])),
    )


@st.composite
def chains(draw):
    """Sequences of strided, dilated, transposed, pooled and upsampled layers that return the size they take."""
    layers, factor = [], 1
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "down", "pool", "up"]))
        if kind == "conv":
            dilation, kernel = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 5]))
            layers.append(nn.Conv2d(1, 1, kernel, padding="same", dilation=dilation))
        elif kind == "down" and factor < 8:
            layers.append(nn.Conv2d(1, 1, 3, stride=2, padding=1))
            factor *= 2
        elif kind == "pool" and factor < 8:
            layers.append(draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))(2))
            factor *= 2
        elif kind == "up" and factor > 1:
            layers.append(_doubling(draw(st.sampled_from(["nearest", "bilinear", "transposed", "overlapping"]))))
            factor //= 2
    layers += [_doubling("nearest") for _ in range(factor.bit_length() - 1)]
    return nn.Sequential(*layers, nn.ReLU())


def _doubling(kind):
    if kind == "transposed":
        return nn.ConvTranspose2d(1, 1, 2, 2)
    if kind == "overlapping":
        return nn.ConvTranspose2d(1, 1, 4, 2, padding=1)
    return nn.Upsample(scale_factor=2, mode=kind)


@settings(max_examples=15, deadline=None)
@given(unets())
def test_the_field_computed_from_a_unets_layers_is_the_one_that_gradients_see(network):
    assert walk_layers(network, Dimensions.TWO) == probe_gradients(network)


@settings(max_examples=40, deadline=None)
@given(chains())
def test_the_computed_field_holds_all_that_gradients_see(network):
    computed, seen = walk_layers(network, Dimensions.TWO), probe_gradients(network)
    assert computed.radius == seen.radius
    assert computed.stride[1] % seen.stride[1] == 0
    assert computed.tile_exact
    assert seen.tile_exact


@settings(max_examples=15, deadline=None)
@given(unets())
def test_the_halo_is_what_a_model_spec_takes(network):
    field = receptive_field(network)
    spec = ModelSpec(sources=("P",), outputs=(OutputSpec(channels=("N",)),), halo=field.halo, stride=field.stride)
    assert all(r <= h < r + s for r, h, s in zip(field.radius, spec.halo, field.stride, strict=True))


@settings(max_examples=10, deadline=None)
@given(unets(), st.integers(0, 2**16))
def test_a_tile_with_its_halo_predicts_what_the_whole_image_does(network, seed):
    torch.manual_seed(seed)
    (_, halo, _), (_, stride, _) = (field := receptive_field(network)).halo, field.stride
    image = torch.randn(1, network.in_channels, 6 * stride + 4 * halo, 2 * stride)
    with torch.inference_mode():
        network.eval()
        whole = network(image)[:, :, 2 * halo : 2 * halo + stride]
        tile = network(image[:, :, halo : 3 * halo + stride])[:, :, halo : halo + stride]
    torch.testing.assert_close(tile, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("features", "radius", "stride"), [((4, 4), 9, 2), (DEFAULT_FEATURES, 51, 8), (LARGE_FEATURES, 107, 16)]
)
def test_known_depths_have_known_fields(features, radius, stride):
    expected = ReceptiveField((0, radius, radius), (1, stride, stride), True)
    assert receptive_field(UNet(features=features)) == expected


def test_a_window_of_slices_is_taken_whole_and_a_stack_has_a_field_in_z():
    window = UNet(2, 1, features=(2, 2), dimensions="2.5D", z_window=5)
    assert (
        receptive_field(window, "2.5D") == ReceptiveField((0, 9, 9), (1, 2, 2), True) == probe_gradients(window, "2.5D")
    )
    stack = UNet(features=(2, 2), convolutions=1, dimensions="3D")
    assert receptive_field(stack, "3D") == ReceptiveField((3, 5, 5), (1, 2, 2), True)


def test_the_probe_sees_the_field_of_a_stack_too():
    stack = nn.Sequential(
        nn.Conv3d(1, 1, (3, 1, 5), padding="same"), nn.MaxPool3d((1, 2, 1)), nn.Upsample(scale_factor=(1, 2, 1))
    )
    assert probe_gradients(stack, Dimensions.THREE) == ReceptiveField((1, 1, 2), (1, 2, 1), True)


class _Gate(nn.Module):
    """Attention by the mean of the whole image."""

    def forward(self, x):
        return x * torch.sigmoid(functional.adaptive_avg_pool2d(x, 1))


class _Branching(nn.Module):
    """A path that depends on the input, so that no layer list describes it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 5, padding=2)

    def forward(self, x):
        if x.shape[-1] % 2:
            return self.conv(x)
        return functional.interpolate(functional.max_pool2d(self.conv(x), 2), scale_factor=2.0)


@pytest.mark.parametrize(
    "layer",
    [nn.InstanceNorm2d(2), nn.GroupNorm(1, 2), nn.BatchNorm2d(2, track_running_stats=False), _Gate()],
    ids=["instance", "group", "batch without statistics", "global pooling"],
)
def test_a_network_that_looks_across_the_image_is_not_tile_exact(layer):
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), layer, nn.Conv2d(2, 1, 3, padding=1))
    assert not receptive_field(network).tile_exact
    assert not probe_gradients(network).tile_exact


def test_upsampling_that_depends_on_the_images_size_is_not_tile_exact():
    network = nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
    assert not receptive_field(network).tile_exact


def test_a_network_that_cannot_be_read_is_probed():
    with pytest.raises(UnknownLayer):
        walk_layers(_Branching(), Dimensions.TWO)
    assert probe_gradients(_Branching()) == ReceptiveField((0, 3, 3), (1, 2, 2), True)


def test_a_network_that_cannot_be_read_is_traced():
    assert receptive_field(_Branching()) == ReceptiveField((0, 3, 3), (1, 2, 2), True)
    unet = BasicUNet(2, 1, 1, (2, 2, 2, 2, 2, 2), norm="batch")
    assert receptive_field(unet).tile_exact
    assert receptive_field(unet).radius >= probe_gradients(unet).radius
    assert not receptive_field(BasicUNet(2, 1, 1, (2, 2, 2, 2, 2, 2), norm="instance")).tile_exact


class _Hidden(nn.Module):
    """A branch that no image of the probe opens, in code that cannot be read layer by layer."""

    def __init__(self):
        super().__init__()
        self.near = nn.Conv2d(1, 1, 3, padding=1)
        self.far = nn.Conv2d(1, 1, 3, padding=24, dilation=24)

    def forward(self, x):
        near = self.near(x)
        assert x.shape[-1] > 1
        return near + torch.relu(self.far(near) - 1e4) if x.shape[1] == 1 else near


def test_a_branch_that_the_probe_never_opens_is_seen_in_the_trace():
    assert probe_gradients(_Hidden()).radius == (0, 1, 1)
    assert receptive_field(_Hidden()) == ReceptiveField((0, 25, 25), (1, 1, 1), True)


class _BySize(nn.Module):
    """A network whose layers depend on the size of the image."""

    def __init__(self):
        super().__init__()
        self.conv, self.more = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 9, padding=4)

    def forward(self, x):
        return self.conv(x) if x.shape[-1] % 3 else self.more(x)


def test_what_is_only_probed_is_never_called_exact():
    assert not receptive_field(_BySize()).tile_exact


def test_probing_leaves_the_network_as_it_was():
    network = UNet(features=(2, 2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    probe_gradients(network)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_several_outputs_are_seen_together():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.near, self.far = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 2, 7, padding=3)

        def forward(self, x):
            return {"near": self.near(x), "far": self.far(x)}

    assert receptive_field(TwoHeads()) == probe_gradients(TwoHeads()) == ReceptiveField((0, 3, 3), (1, 1, 1), True)


def test_a_network_that_takes_no_image_is_refused_in_one_sentence():
    with pytest.raises(ModelError, match="cannot be run on an image"):
        receptive_field(nn.Linear(3, 3))
