"""Networks that look across the whole image: blended without seams, whole where it fits, and never silently."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.models.spec import ModelSpec, OutputSpec
from napari_vstain.core.tiling.blend import Blender
from napari_vstain.core.tiling.plan import plan_tiles, size_of

from ..inference.networks import TinyUNet, TorchEngine, noise, relative_rms, spec_of


def predictor_of():
    return Predictor(TorchEngine(TinyUNet(depth=1, norm=True)), spec_of(1, units=(0, 1), tile_exact=False))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    size=st.integers(2, 16).map(lambda n: 4 * n),
    scale=st.sampled_from([0.5, 1, 2]),
    data=st.data(),
)
def test_the_weights_of_all_tiles_sum_to_one(shape, size, scale, data):
    outputs = (OutputSpec(channels=("a",), scale=(1, scale, scale)),)
    spec = ModelSpec(sources=("s",), outputs=outputs, stride=(1, 2, 2), tile_exact=False)
    margin = 2 * data.draw(st.integers(1, size // 4))
    plan = plan_tiles((1, *shape), spec, (1, size, size), margin=margin)
    output = plan.spec.outputs[0]
    blender, total = Blender(plan), np.zeros((1, *plan.output_shape(output)), np.float32)
    tiles = data.draw(st.permutations(list(plan)))
    for tile in tiles:
        ones = np.ones((1, *size_of(plan.output_region(tile.support, output))), np.float32)
        for owner, values in blender.add(tile, {"stain": ones}):
            total[(slice(None), *owner.outputs["stain"])] += values["stain"]
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_an_image_that_fits_is_predicted_whole():
    predictor = predictor_of()
    image = noise((1, 150, 170))
    predictor.predict(image, 64)
    assert len(predictor.engine.runs) == 1


def test_blended_tiles_come_close_to_the_whole_and_show_no_seams():
    image = noise((1, 256, 256))
    whole = predictor_of().predict(image)["stain"]
    predictor = predictor_of()
    predictor.runner.measured.most_px = 120**2
    plan = predictor.plan((1, 256, 256), 64)
    assert plan.margin == 16
    blended = predictor.predict(image, 64)["stain"]
    assert 0 < relative_rms(blended, whole) < 0.3
    hard = Predictor(predictor.engine, predictor.spec.model_copy(update={"tile_exact": True}))
    hard = hard.predict(image, 64)["stain"]
    borders = np.arange(64, 256, 64)
    error, seams = blended - whole, hard - whole
    jumps = [np.abs(e[0, borders] - e[0, borders - 1]).mean() for e in (error, seams)]
    assert jumps[0] < jumps[1] / 2
