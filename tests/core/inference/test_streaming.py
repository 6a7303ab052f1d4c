"""What the user looks at comes first, everything comes once, and it equals the prediction at rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_vstain.core.inference.image_source import ChannelStack
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.streaming import Area, Stream, StreamRequest, TileDone, Unlike, predict_stream
from napari_vstain.core.jobs import Job
from napari_vstain.core.novelty import calibrate
from napari_vstain.core.progress import Cancelled, CancelToken, Progress

from .networks import TinyUNet, TorchEngine, noise, spec_of

PLAIN = (0, 1)


class Listener:
    """Keeps what tiles were produced, and calls a function at each."""

    def __init__(self, then=lambda item: None):
        self.items = []
        self.reports = []
        self.then = then

    def reported(self, report):
        self.reports.append(report)

    def produced(self, item):
        if isinstance(item, TileDone):
            self.items.append(item)
            self.then(item)


def predictor_of(depth=1, **more):
    return Predictor(TorchEngine(TinyUNet(depth=depth)), spec_of(depth, units=PLAIN, **more))


def centre(item, axis):
    part = item.area[axis]
    return (part.start + part.stop) / 2


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 400), st.integers(1, 500)),
    fast=st.sampled_from([1e4, 1e6, 1e9]),
    data=st.data(),
)
def test_every_pixel_is_streamed_once_and_equals_the_prediction(shape, fast, data):
    t, z, y, x = shape
    image = noise((t, 1, z, y, x))
    predictor = predictor_of()
    stream = Stream(
        StreamRequest(image, Area(y=slice(*sorted(data.draw(st.tuples(*[st.integers(0, y)] * 2)))))), predictor
    )
    times = np.zeros(shape, int)

    def count(item):
        times[item.area] += 1
        predictor.runner.measured.speed = fast
        if data.draw(st.booleans()):
            stream.look_at(Area(slice(0, 1), slice(z - 1, z), slice(0, y), slice(data.draw(st.integers(0, x)), x)))

    listener = Listener(count)
    outputs = stream(Progress(sink=listener))
    assert (times == 1).all()
    assert listener.items[-1].done == listener.items[-1].total == times.size
    for time in range(t):
        np.testing.assert_allclose(outputs["stain"][time], predictor.predict(image[time])["stain"], rtol=0, atol=1e-6)


def test_the_view_comes_first_and_then_its_surroundings():
    listener = Listener()
    stream = Stream(
        StreamRequest(noise((1, 640, 640)), Area(y=slice(350, 500), x=slice(400, 600)), tile_px=64), predictor_of()
    )
    stream(Progress(sink=listener))
    seen = [
        item.area.y.stop > 350 and item.area.y.start < 500 and item.area.x.stop > 400 and item.area.x.start < 600
        for item in listener.items
    ]
    assert seen == sorted(seen, reverse=True)
    away = [np.hypot(centre(item, 2) - 425, centre(item, 3) - 500) for item in listener.items]
    assert away[: sum(seen)] == sorted(away[: sum(seen)])
    assert away[sum(seen) :] == sorted(away[sum(seen) :])


def test_panning_changes_the_order_of_what_is_left():
    image = noise((3, 1, 2, 256, 256))
    stream = Stream(StreamRequest(image, Area(slice(0, 1), slice(0, 1)), tile_px=128), predictor_of())
    away = Area(slice(2, 3), slice(1, 2), slice(0, 10), slice(0, 10))
    listener = Listener(lambda item: stream.look_at(away) if len(listener.items) == 1 else None)
    stream(Progress(sink=listener))
    first, second, *_ = listener.items
    assert (first.area.t, first.area.z) == (slice(0, 1), slice(0, 1))
    assert second.area == (slice(2, 3), slice(1, 2), slice(0, 128), slice(0, 128))
    assert len(listener.items) == 3 * 2 * 4


def test_the_stream_follows_the_plan_of_the_predictor():
    predictor = predictor_of()
    listener = Listener()
    Stream(StreamRequest(noise((1, 300, 200)), tile_px=96), predictor)(Progress(sink=listener))
    plan = predictor.plan((1, 300, 200), 96)
    assert {str(item.area[1:]) for item in listener.items} == {str(tile.owned) for tile in plan}


def test_tiles_grow_while_they_are_quick():
    predictor = predictor_of()
    sizes = []

    def hurry(item):
        sizes.append(item.area.y.stop - item.area.y.start)
        predictor.runner.measured.speed = 1e9

    Stream(StreamRequest(noise((1, 1024, 1024)), Area(y=slice(0, 9), x=slice(0, 9))), predictor)(
        Progress(sink=Listener(hurry))
    )
    assert sizes[0] == 128
    assert max(sizes) == 512
    sizes.clear()

    def dawdle(item):
        sizes.append(item.area.y.stop - item.area.y.start)
        predictor.runner.measured.speed = 10

    Stream(StreamRequest(noise((1, 512, 512))), predictor)(Progress(sink=Listener(dawdle)))
    assert set(sizes) == {128}


def test_only_the_scope_is_predicted():
    listener = Listener()
    outputs = Stream(StreamRequest(noise((1, 300, 300)), scope=Area(y=slice(100, 120)), tile_px=64), predictor_of())(
        Progress(sink=listener)
    )
    rows = np.isfinite(outputs["stain"][0]).all(axis=1)
    assert np.flatnonzero(rows).tolist() == list(range(64, 128))
    assert listener.items[-1].total == 64 * 300


def test_stop_keeps_the_finished_tiles():
    token = CancelToken()
    listener = Listener(lambda item: token.cancel() if len(listener.items) == 2 else None)
    with pytest.raises(Cancelled) as stopped:
        Stream(StreamRequest(noise((1, 256, 256)), tile_px=64), predictor_of())(Progress(token, listener))
    assert len(listener.items) == 2
    assert np.isfinite(stopped.value.kept["stain"]).sum() == 2 * 64 * 64


def test_a_stream_is_a_job():
    image = noise((1, 200, 200))
    predictor = predictor_of()
    job = Job(Stream(StreamRequest(image, tile_px=64), predictor), "predict")
    queue = job.subscribe()
    job.start()
    outputs = job.result()
    assert sum(isinstance(event.item, TileDone) for event in queue.drain()) == 16
    assert job.status.done == pytest.approx(0.04)
    np.testing.assert_allclose(outputs["stain"], predictor.predict(image)["stain"], rtol=0, atol=1e-6)


def test_outputs_may_be_given():
    image = noise((1, 2, 50, 50))
    given_array = np.zeros((1, 2, 50, 50), np.float32)
    predictor = predictor_of()
    Stream(StreamRequest(image, outputs={"stain": given_array}), predictor)(Progress())
    np.testing.assert_allclose(given_array, predictor.predict(image)["stain"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(predict_stream(image, predictor)["stain"], given_array, rtol=0, atol=1e-6)


@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "TZYX"])
def test_layers_of_one_channel_each_become_one_array(axes):
    shape = dict(zip("TZYX", (2, 3, 40, 50), strict=True))
    layers = [noise([shape[axis] for axis in axes], seed) for seed in range(2)]
    predictor = Predictor(TorchEngine(TinyUNet(channels_in=2, depth=1)), spec_of(1, 2, units=PLAIN))
    stack = ChannelStack(layers, axes)
    whole = np.stack(layers)
    for axis, place in (("T", 1), ("Z", 2)):
        whole = whole if axis in axes else np.expand_dims(whole, place)
    whole = whole.swapaxes(0, 1)
    assert stack.shape == whole.shape
    expected = np.stack([predictor.predict(image)["stain"] for image in whole])
    np.testing.assert_allclose(predict_stream(stack, predictor)["stain"], expected, rtol=0, atol=1e-6)


def test_an_image_unlike_the_training_data_is_said_after_the_first_tile_of_each_time_point():
    spec = spec_of(1, spacing_um=(1.0, 0.5, 0.5))
    trained = (ndimage.gaussian_filter(noise((1, 1, 256, 256), seed), (0, 0, 2, 2)) for seed in range(4))
    spec = spec.model_copy(update={"novelty": calibrate(spec, trained)})
    predictor = Predictor(TorchEngine(TinyUNet(depth=1)), spec)
    heard = []

    class Sink:
        def reported(self, report):
            pass

        def produced(self, item):
            heard.append(item)

    stream = Stream(StreamRequest(noise((2, 1, 1, 200, 200)), tile_px=64, spacing_um=(1.0, 0.1, 0.1)), predictor)
    assert stream.warnings is None
    stream(Progress(CancelToken(), Sink()))
    said = [item for item in heard if isinstance(item, Unlike)]
    assert isinstance(heard[0], TileDone) and heard[1] is said[0]
    assert tuple(sentence for item in said for sentence in item.warnings) == stream.warnings
    assert sum("voxel size differs" in sentence for sentence in stream.warnings) == 1
    assert any("at t 1" in sentence for sentence in said[1].warnings)
    assert any("voxel size differs" in said for said in stream.warnings)
    assert any("looks unlike" in said for said in stream.warnings)
    alike = ndimage.gaussian_filter(noise((1, 256, 256), 9), (0, 2, 2))
    stream = Stream(StreamRequest(alike, tile_px=64, spacing_um=(1.0, 0.5, 0.5)), predictor)
    stream(Progress())
    assert stream.warnings == ()
