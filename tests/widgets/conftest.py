"""What the window's tests share: a small untrained model, a viewer with a context."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network that says all a model says of itself."""
    import torch

    from napari_vstain.core.models.files.checkpoint import save_checkpoint
    from napari_vstain.core.models.networks import network_config
    from napari_vstain.core.models.receptive_field.measure import receptive_field
    from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics
    from napari_vstain.core.models.unet import UNet

    torch.manual_seed(0)
    shape = {"in_channels": 1, "out_channels": 1, "features": (4, 8)}
    network = UNet(**shape).eval()
    field = receptive_field(network)
    known = Statistics(mean=1000, std=300, median=1000, iqr=400, p1=400, p5=500, p95=1500, p99=1800)
    spec = ModelSpec(
        name="untrained",
        sources=("Phase",),
        outputs=(OutputSpec(channels=("Nuclei",)),),
        stride=field.stride,
        halo=field.halo,
        statistics={"Phase": known, "Nuclei": known},
        config=network_config(network, **shape),
    )
    path = tmp_path_factory.mktemp("model") / "untrained.ckpt"
    save_checkpoint(path, spec, network)
    return path


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """An ONNX file of one convolution, with no word on what it is for."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.full((1, 1, 3, 3), 1 / 9, np.float32)
    sizes = ["batch", 1, "height", "width"]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["picture", "kernel"], ["result"], pads=[1, 1, 1, 1])],
        "mean",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, sizes)],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    path = tmp_path / "theirs.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture
def context(make_napari_viewer_proxy):
    """The context of a real window; its jobs end with the test."""
    from napari_vstain.widgets.viewer_context import context_of

    made = context_of(make_napari_viewer_proxy())
    yield made
    assert made.session.close(timeout_s=20)
    made.close()


@pytest.fixture
def field() -> np.ndarray:
    """An image, (Y, X)."""
    return np.random.default_rng(0).normal(1000, 300, (200, 260)).astype(np.float32)
