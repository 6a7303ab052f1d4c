"""An ONNX file from elsewhere can be predicted with once its channels are named: the rest is read or measured."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.files.third_party import third_party_spec
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import Dimensions
from napari_vstain.core.models.unet import UNet


def write(network: nn.Module, path: Path, shape: tuple[int, ...], fixed: bool = False, window: bool = False) -> Path:
    """Write a network as others do: their own names, no metadata, and axes that may be fixed."""
    free = {axis: torch.export.Dim.DYNAMIC for axis in range(len(shape)) if axis != 1 and not (window and axis == 2)}
    with torch.no_grad():
        program = torch.onnx.export(
            network.eval(),
            (torch.zeros(shape),),
            dynamo=True,
            verbose=False,
            input_names=["image"],
            output_names=["prediction"],
            dynamic_shapes=None if fixed else (free,),
        )
    onnx.save(program.model_proto, path)
    return path


pytestmark = pytest.mark.filterwarnings("ignore")  # torch's exporter warns of itself


def unet(**options: object) -> nn.Module:
    torch.manual_seed(0)
    network = UNet(**{"features": (4, 8, 8), **options})
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight)
    return network.eval()


@pytest.mark.parametrize("fixed", [False, True], ids=["free sizes", "fixed sizes"])
def test_halo_and_stride_are_read_from_the_graph_as_they_are(tmp_path, fixed):
    network = unet(in_channels=2)
    spec = third_party_spec(write(network, tmp_path / "a.onnx", (2, 2, 64, 96), fixed), ["Phase", "DIC"], ["Nuclei"])
    known = receptive_field(network)
    assert spec.stride == known.stride == (1, 4, 4)
    assert spec.halo == known.halo
    assert spec.tile_exact
    assert spec.dimensions is Dimensions.TWO
    assert spec.outputs[0].scale == (1, 1, 1)
    assert spec.training.reach == "computed from the graph"
    assert spec.source_offset_and_divisor("Phase") == (0, pytest.approx(1))


def test_a_network_without_pooling_has_stride_one_and_its_kernels_radius(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 1, (3, 7), padding=(1, 3)))
    spec = third_party_spec(write(network, tmp_path / "a.onnx", (2, 1, 32, 40)), ["Phase"], ["Nuclei"])
    assert (spec.stride, spec.halo) == ((1, 1, 1), (0, 3, 5))


def test_an_output_that_is_larger_than_the_input_states_its_scale(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ConvTranspose2d(4, 2, 2, 2))
    spec = third_party_spec(write(network, tmp_path / "a.onnx", (2, 1, 32, 40)), ["Phase"], ["Nuclei", "Membrane"])
    assert spec.outputs[0].scale == (1, 2, 2)
    assert spec.stride == (1, 1, 1)
    assert spec.halo[1] in (1, 2)


def test_a_network_that_looks_across_the_whole_image_is_not_called_exact(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))
    spec = third_party_spec(write(network, tmp_path / "a.onnx", (2, 1, 32, 40)), ["Phase"], ["Nuclei"])
    assert not spec.tile_exact


def test_a_window_of_slices_and_a_stack_are_told_apart(tmp_path):
    window = write(unet(dimensions="2.5D", z_window=5), tmp_path / "w.onnx", (2, 1, 5, 64, 96), window=True)
    spec = third_party_spec(window, ["Phase"], ["Nuclei"])
    assert (spec.dimensions, spec.z_window, spec.stride) == (Dimensions.WINDOW, 5, (1, 4, 4))
    volume = write(unet(dimensions="3D", features=(2, 4)), tmp_path / "v.onnx", (2, 1, 6, 32, 40))
    spec = third_party_spec(volume, ["Phase"], ["Nuclei"])
    assert (spec.dimensions, spec.z_window, spec.stride) == (Dimensions.THREE, 1, (1, 2, 2))
    assert spec.halo == receptive_field(unet(dimensions="3D", features=(2, 4)), "3D").halo


def test_a_network_that_takes_one_size_only_is_refused(tmp_path):
    path = write(unet(dimensions="2.5D", z_window=5), tmp_path / "w.onnx", (1, 1, 5, 64, 64), fixed=True)
    with pytest.raises(ModelError, match="export it with free image sizes"):
        third_party_spec(path, ["Phase"], ["Nuclei"])


def test_a_third_party_file_predicts_in_tiles_what_it_predicts_whole(tmp_path):
    from napari_vstain.core.inference.loading import load_predictor

    path = write(unet(), tmp_path / "a.onnx", (2, 1, 64, 96))
    spec = third_party_spec(path, ["Phase"], ["Nuclei"])
    image = np.random.default_rng(0).standard_normal((1, 200, 160), dtype=np.float32)
    for engine in ("onnxruntime", "openvino"):
        predictor = load_predictor(path, spec=spec, engine=engine)
        whole, tiled = (predictor.predict(image, tile_px=px)["stain"] for px in (256, 32))
        assert np.sqrt(np.mean((whole - tiled) ** 2)) / whole.std() <= 1e-6


class Two(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b


def test_several_inputs_are_refused_by_name(tmp_path):
    program = torch.onnx.export(
        Two(), (torch.zeros(1, 1, 8, 8),) * 2, dynamo=True, verbose=False, input_names=["first", "second"]
    )
    onnx.save(program.model_proto, tmp_path / "two.onnx")
    with pytest.raises(ModelError, match=r"has 2 inputs \(first, second\)"):
        third_party_spec(tmp_path / "two.onnx", ["Phase"], ["Nuclei"])


def test_other_numbers_of_channels_than_named_are_refused(tmp_path):
    path = write(nn.Conv2d(2, 3, 1), tmp_path / "a.onnx", (2, 2, 32, 40))
    with pytest.raises(ModelError, match="takes 2 channels, and 1 are named"):
        third_party_spec(path, ["Phase"], ["Nuclei"])
    with pytest.raises(ModelError, match="and 1 target channels are named"):
        third_party_spec(path, ["Phase", "DIC"], ["Nuclei"])


def test_a_model_of_tables_or_of_shrinking_images_is_refused(tmp_path):
    with pytest.raises(ModelError, match="but 2 axes"):
        third_party_spec(write(nn.Linear(4, 2), tmp_path / "a.onnx", (3, 4)), ["Phase"], ["Nuclei"])
    with pytest.raises(ModelError, match="smaller than its input"):
        third_party_spec(write(nn.Conv2d(1, 1, 5), tmp_path / "b.onnx", (2, 1, 32, 40)), ["Phase"], ["Nuclei"])
