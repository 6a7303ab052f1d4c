"""Law 1, the plan: each pixel is owned once, and every tile lies on the network's stride grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.errors import TilingError
from napari_vstain.core.models.spec import Dimensions, ModelSpec, OutputSpec
from napari_vstain.core.tiling.plan import plan_tiles
from napari_vstain.core.tiling.z_windows import covering, window_starts

lengths = st.integers(1, 90)


@st.composite
def plans(draw, kinds=tuple(Dimensions)):
    kind = draw(st.sampled_from(kinds))
    stride = tuple(draw(st.sampled_from([1, 2, 3, 4, 8])) for _ in range(3))
    stride = (stride[0] if kind is Dimensions.THREE else 1, stride[1], stride[2])
    halo = tuple(s * draw(st.integers(0, 3)) for s in stride)
    halo = (halo[0] if kind is Dimensions.THREE else 0, halo[1], halo[2])
    window = 1 if kind is Dimensions.TWO else draw(st.integers(1, 6))
    outputs = (OutputSpec(channels=("a",)), OutputSpec(task="half", channels=("b",), scale=(1, 0.5, 2)))
    spec = ModelSpec(sources=("s",), outputs=outputs, dimensions=kind, z_window=window, stride=stride, halo=halo)
    shape = (draw(st.integers(1, 12)), draw(lengths), draw(lengths))
    size = (draw(st.integers(1, 5)), *(s * draw(st.integers(1, 12)) for s in stride[1:]))
    margin = draw(st.sampled_from([0, 24])) if min(size[1:]) >= 48 else 0
    return plan_tiles(shape, spec, size, margin=margin, z_step=draw(st.integers(1, window)))


@given(plans())
def test_every_pixel_is_owned_exactly_once(plan):
    owners = np.zeros(plan.shape, int)
    for tile in plan:
        owners[tile.owned] += 1
    assert (owners == 1).all()


@given(plans())
def test_every_pixel_of_every_output_is_written_exactly_once(plan):
    for output in plan.spec.outputs:
        writers = np.zeros(plan.output_shape(output), int)
        for tile in plan:
            writers[tile.outputs[output.task]] += 1
        assert (writers == 1).all()


@given(plans())
def test_origins_and_sizes_lie_on_the_stride_grid(plan):
    for tile in plan:
        for axis in (1, 2):
            stride = plan.spec.stride[axis]
            assert tile.owned[axis].start % stride == 0
            assert tile.read[axis].start % stride == 0
            assert (tile.read[axis].stop - tile.read[axis].start) % stride == 0


@given(plans())
def test_a_tile_reads_its_halo_on_all_sides(plan):
    for tile in plan:
        for axis in (1, 2):
            assert tile.read[axis].start <= tile.support[axis].start - plan.spec.halo[axis]
            assert tile.read[axis].stop >= tile.support[axis].stop + plan.spec.halo[axis]


@given(plans((Dimensions.THREE,)))
def test_a_3d_tile_takes_all_of_z(plan):
    for tile in plan:
        assert tile.owned[0] == slice(0, plan.shape[0])
        assert (tile.read[0].stop - tile.read[0].start) >= plan.spec.z_window


@given(plans(), st.data())
def test_a_region_finds_just_the_tiles_that_own_it(plan, data):
    region = tuple(slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))) for n in plan.shape)
    wanted = {
        tile.index
        for tile in plan
        if all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in zip(tile.owned, region, strict=True))
    }
    assert {tile.index for tile in plan.intersecting(region)} >= wanted
    if all(part.start < part.stop for part in region):
        assert {tile.index for tile in plan.intersecting(region)} == wanted


@given(plans())
def test_chunks_are_the_owned_regions(plan):
    for output in plan.spec.outputs:
        assert tuple(map(sum, plan.chunks(output))) == plan.output_shape(output)
        assert tuple(map(len, plan.chunks(output))) == plan.grid


@given(depth=st.integers(1, 40), window=st.integers(1, 12), data=st.data())
def test_windows_cover_every_slice_at_any_step(depth, window, data):
    step = data.draw(st.integers(1, window))
    starts = window_starts(depth, window, step)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] + window == max(depth, window)
    for z in range(depth):
        assert covering(starts, window, z, z + 1) == [s for s in starts if s <= z < s + window] != []


@pytest.mark.parametrize(
    ("size", "margin", "text"),
    [((1, 30, 32), 0, "Y must be a multiple"), ((1, 32, 0), 0, "X must be"), ((1, 32, 32), 24, "two margins")],
)
def test_a_tile_off_the_stride_grid_is_refused(size, margin, text):
    spec = ModelSpec(sources=("s",), outputs=(OutputSpec(channels=("a",)),), stride=(1, 8, 8))
    with pytest.raises(TilingError, match=text):
        plan_tiles((1, 64, 64), spec, size, margin=margin)


@pytest.mark.parametrize("step", [0, 6])
def test_a_step_that_leaves_slices_out_is_refused(step):
    with pytest.raises(TilingError, match="1 to 5"):
        window_starts(10, 5, step)


def test_an_image_without_pixels_is_refused():
    spec = ModelSpec(sources=("s",), outputs=(OutputSpec(channels=("a",)),))
    with pytest.raises(TilingError, match="no pixels"):
        plan_tiles((1, 0, 64), spec, (1, 32, 32))
