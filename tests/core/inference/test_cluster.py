"""A batch on dask.distributed, with real worker processes, gives what this machine alone gives."""

import numpy as np
import pytest

from napari_vstain.core.data import open_dataset, recorded
from napari_vstain.core.errors import SettingsError
from napari_vstain.core.inference import PredictSettings, run
from napari_vstain.core.inference.loading import load_predictor
from napari_vstain.core.models.files.checkpoint import save_checkpoint
from napari_vstain.core.models.networks import build_network
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics
from napari_vstain.core.progress import Cancelled, CancelToken, Progress

from .plates import KEYS, workspace_with

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def address():
    """Return the address of a scheduler with two worker processes of one thread."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def workspace(tmp_path):
    workspace = workspace_with(tmp_path, shape=(1, 2, 2, 600, 600))
    config = {
        "class_path": "napari_vstain.core.models.unet.UNet",
        "init_args": {"in_channels": 1, "out_channels": 1, "features": [4, 8]},
    }
    network = build_network(config, trusted=False).eval()
    field = receptive_field(network)
    numbers = {name: Statistics(mean=100, std=20, median=100, iqr=25) for name in ("Phase", "Nuclei")}
    outputs = (OutputSpec(channels=("Nuclei",)),)
    spec = ModelSpec(
        sources=("Phase",), outputs=outputs, stride=field.stride, halo=field.halo, statistics=numbers, config=config
    )
    save_checkpoint(tmp_path / "model.ckpt", spec, network)
    return workspace


def settings_of(workspace, **more):
    values = {"model": workspace.root / "model.ckpt", "engine": "torch", "device": "cpu", "tile_px": 512}
    return PredictSettings(dataset="noise", **{**values, **more})


def test_a_cluster_predicts_what_one_machine_does(workspace, address):
    result = run(settings_of(workspace, scheduler=address), workspace, Progress())
    assert result.positions == KEYS
    assert result.store == workspace.experiment("model").predictions()
    alone = run(settings_of(workspace, output=workspace.root / "alone.zarr"), workspace, Progress())
    for key in KEYS:
        shared, single = (open_dataset(store).position(key) for store in (result.store, alone.store))
        np.testing.assert_allclose(shared.image().compute(), single.image().compute(), rtol=0, atol=1e-4)
        assert recorded(shared, "prediction")["complete"] is True


def test_a_cluster_goes_on_where_it_was_stopped(workspace, address):
    token = CancelToken()

    class Sink:
        def reported(self, report):
            if report.done > 0.5:
                token.cancel()

        def produced(self, item): ...

    with pytest.raises(Cancelled):
        run(settings_of(workspace, scheduler=address), workspace, Progress(token, Sink()))
    result = run(settings_of(workspace, scheduler=address), workspace, Progress())
    assert 0 < result.megapixels < 2 * 2 * 0.36
    position = open_dataset(workspace.dataset("noise")).position(KEYS[1])
    expected = load_predictor(workspace.root / "model.ckpt", engine="torch", device="cpu").predict(
        position.read(["Phase"])
    )
    stored = open_dataset(result.store).position(KEYS[1]).read(["Nuclei_prediction"])
    np.testing.assert_allclose(stored, expected["stain"], rtol=0, atol=1e-4)


def test_a_scheduler_that_does_not_answer_is_named(workspace):
    with pytest.raises(SettingsError, match="does not answer"):
        run(settings_of(workspace, scheduler="tcp://127.0.0.1:1"), workspace, Progress())
