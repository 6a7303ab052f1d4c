"""A lazy prediction has the window's tiles as its chunks, and the values of the prediction at once."""

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

from napari_vstain.core.errors import ModelError
from napari_vstain.core.inference.image_source import ChannelStack
from napari_vstain.core.inference.lazy_prediction import predict_lazy
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.streaming import Stream, StreamRequest, TileDone
from napari_vstain.core.models.spec import OutputSpec
from napari_vstain.core.progress import Progress

from .networks import TinyUNet, TorchEngine, TwoHeads, noise, spec_of


def predictor_of(depth=1, **more):
    return Predictor(TorchEngine(TinyUNet(depth=depth)), spec_of(depth, units=(0, 1), **more))


class Areas:
    def __init__(self):
        self.areas = []

    def reported(self, report): ...

    def produced(self, item):
        if isinstance(item, TileDone):
            self.areas.append(item.area)


@pytest.mark.parametrize("shape", [(1, 300, 201), (1, 3, 130, 140), (2, 1, 2, 100, 65)])
def test_chunks_and_values_are_those_of_the_stream(shape):
    image, predictor, sink = noise(shape), predictor_of(), Areas()
    lazy = predict_lazy(da.from_array(image, chunks=50), predictor, tile_px=64, z=1)
    stream = Stream(StreamRequest(image, tile_px=64), predictor)
    outputs = stream(Progress(sink=sink))
    assert lazy.shape == image.shape
    assert lazy.dtype == np.float32
    ends = [np.cumsum(sizes).tolist() for sizes in lazy.chunks[-2:]]
    assert {(area.y.stop, area.x.stop) for area in sink.areas} == {(y, x) for y in ends[0] for x in ends[1]}
    assert len(sink.areas) == np.prod([len(sizes) for sizes in lazy.chunks])
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), outputs["stain"], rtol=0, atol=1e-6)


def test_a_chunk_computes_one_tile_and_reads_its_surroundings_only(tmp_path):
    store = zarr.create_array(tmp_path / "image", shape=(1, 400, 400), chunks=(1, 50, 50), dtype="f4")
    store[:] = noise((1, 400, 400))
    engine = TorchEngine(TinyUNet(depth=1))
    lazy = predict_lazy(store, Predictor(engine, spec_of(1)), tile_px=100)
    (part,) = dask.optimize(lazy[:, 110:120, 110:120])
    part.compute(scheduler="sync")
    assert engine.runs == [(1, 1, 116, 116)]


def test_several_outputs_of_one_scale_follow_each_other():
    predictor = Predictor(TorchEngine(TinyUNet(channels_out=2, depth=1)), spec_of(1, 1, 2), augment="mean")
    image = noise((1, 70, 80))
    at_once = predictor.predict(image)
    lazy = predict_lazy(image, predictor, tile_px=64)
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), np.concatenate(list(at_once.values())), atol=1e-3)


def test_outputs_of_several_scales_are_asked_for_one_by_one():
    outputs = (
        OutputSpec(channels=("stain0",)),
        OutputSpec(task="small", channels=("a", "b"), scale=(1, 0.5, 0.5), kind="distance"),
    )
    predictor = Predictor(TorchEngine(TwoHeads()), spec_of(1, outputs=outputs))
    image = noise((1, 75, 80))
    with pytest.raises(ModelError, match="choose one as `task`"):
        predict_lazy(image, predictor)
    with pytest.raises(ModelError, match="stain, small"):
        predict_lazy(image, predictor, task="other")
    lazy = predict_lazy(image, predictor, task="small", tile_px=32)
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), predictor.predict(image)["small"], rtol=0, atol=1e-5)


def test_networks_that_are_not_tile_exact_are_blended_lazily_as_at_once():
    spec = spec_of(1, units=(0, 1), tile_exact=False)
    image = noise((1, 200, 180))
    engine = TorchEngine(TinyUNet(depth=1, norm=True))
    predictor = Predictor(engine, spec)
    predictor.runner.measured.most_px = 100**2
    lazy = predict_lazy(image, predictor, tile_px=64)
    assert lazy.numblocks == (1, 4, 3)
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), predictor.predict(image, 64)["stain"], rtol=0, atol=1e-6)


def test_layers_of_one_channel_each_are_predicted_lazily():
    layers = [noise((2, 40, 50), seed) for seed in range(2)]
    predictor = Predictor(TorchEngine(TinyUNet(channels_in=2, depth=1)), spec_of(1, 2))
    lazy = predict_lazy(ChannelStack(layers, "TYX"), predictor)
    expected = [predictor.predict(np.stack([layer[t] for layer in layers]))["stain"] for t in range(2)]
    np.testing.assert_allclose(lazy.compute(scheduler="sync")[:, :, 0], expected, rtol=0, atol=1e-3)
