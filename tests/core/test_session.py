"""The session: what a path turns out to be, what is chosen, and jobs that end with it."""

import gc
import time
import weakref
from threading import Event

import pytest

from napari_vstain.core.errors import ChannelError, DatasetError, ModelError, VstainError, WorkspaceError
from napari_vstain.core.session import Model, Session, guess_roles, model_at, open_path, registered_name, runs_of
from napari_vstain.core.workspace import Workspace


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    from napari_vstain.core.simulation import simulate_plate

    return simulate_plate(tmp_path_factory.mktemp("plate") / "cells.zarr", wells=("A/1", "B/2"), fields=2, size=64)


@pytest.fixture
def session():
    made = Session()
    yield made
    assert made.close(timeout_s=10)


def heard(signal):
    """Return a list that fills with what a signal emits."""
    calls = []
    signal.connect(lambda *arguments: calls.append(arguments))
    return calls


def test_opening_a_plate_chooses_its_first_position_and_the_likely_channels(session, plate):
    positions, channels = heard(session.position_changed), heard(session.channels_changed)
    session.open(plate)
    assert session.dataset.path == plate
    assert session.position.key == "A/1/0"
    assert (session.sources, session.targets) == (("Phase",), ("Nuclei", "Membrane"))
    assert len(positions) == 1
    assert channels == [(("Phase",), ("Nuclei", "Membrane"))]


def test_opening_a_workspace_opens_its_newest_dataset(session, plate, tmp_path):
    workspace = Workspace.create(tmp_path / "study")
    workspace.link_dataset(plate)
    session.open(workspace.root)
    assert session.workspace == workspace
    assert session.dataset.path == plate


def test_an_empty_workspace_opens_without_a_dataset(session, tmp_path):
    workspace = Workspace.create(tmp_path / "study")
    session.open(workspace.root)
    assert session.workspace == workspace
    assert session.dataset is None


def test_a_store_inside_a_workspace_brings_its_workspace(plate, tmp_path):
    import shutil

    workspace = Workspace.create(tmp_path / "study")
    inside = shutil.copytree(plate, workspace.datasets / "2026_01_01_cells.zarr")
    assert open_path(inside).workspace == workspace
    assert open_path(plate).workspace is None


def test_a_dataset_from_elsewhere_is_linked_once(plate, tmp_path):
    workspace = Workspace.create(tmp_path / "study")
    dataset = open_path(plate).dataset
    assert registered_name(workspace, dataset) == registered_name(workspace, dataset) == "cells"
    assert workspace.dataset("cells") == plate


def test_a_path_that_is_nothing_is_refused_and_changes_nothing(session, plate, tmp_path):
    session.open(plate)
    with pytest.raises((DatasetError, WorkspaceError)):
        session.open(tmp_path / "nothing")
    assert session.dataset.path == plate


def test_stepping_stops_at_the_first_and_the_last_position(session, plate):
    session.open(plate)
    keys = list(session.dataset.positions)
    session.step_position(-1)
    assert session.position.key == keys[0]
    session.step_position(99)
    assert session.position.key == keys[-1]


@pytest.mark.parametrize(("sources", "targets"), [(["Phase"], ["GFP"]), (["Phase"], ["Phase"])])
def test_channels_that_make_no_sense_are_refused_and_the_choice_stays(session, plate, sources, targets):
    session.open(plate)
    with pytest.raises(ChannelError):
        session.choose_channels(sources, targets)
    assert session.sources == ("Phase",)


@pytest.mark.parametrize(
    ("channels", "sources"),
    [
        (("DAPI", "BF"), ("BF",)),
        (("Phase3D", "GFP"), ("Phase3D",)),
        (("Retardance", "Brightfield", "mCherry"), ("Retardance", "Brightfield")),
        (("a", "b"), ("a",)),
        (("only",), ("only",)),
    ],
)
def test_label_free_channels_are_guessed_by_their_names(channels, sources):
    guessed = guess_roles(channels)
    assert guessed[0] == sources
    assert set(guessed[0]) | set(guessed[1]) == set(channels)


def test_what_is_not_open_says_so(session):
    with pytest.raises(DatasetError, match="none is open"):
        session.open_dataset  # noqa: B018
    with pytest.raises(WorkspaceError, match="none is open"):
        session.open_workspace  # noqa: B018
    with pytest.raises(ModelError, match="none is chosen"):
        session.open_model  # noqa: B018


def test_runs_without_a_checkpoint_are_left_out_and_the_newest_comes_first(tmp_path):
    import os

    workspace = Workspace.create(tmp_path)
    experiment = workspace.experiment("first")
    runs = [experiment.new_run() for _ in range(3)]
    for age, run in ((2, runs[0]), (1, runs[2])):
        run.checkpoints.mkdir()
        (run.checkpoints / "last.ckpt").write_bytes(b"")
        os.utime(run.checkpoints / "last.ckpt", (time.time() - age, time.time() - age))
    assert [run.name for run in runs_of(workspace)] == ["version_2", "version_0"]


def test_a_file_that_is_no_model_is_refused(tmp_path):
    for name in ("fake.ckpt", "fake.onnx"):
        (tmp_path / name).write_bytes(b"not a model")
        with pytest.raises(ModelError):
            model_at(tmp_path / name)


def test_quiet_jobs_are_not_announced_but_end_with_the_session(session):
    announced = heard(session.job_started)
    release = Event()
    quiet = session.start(lambda progress: release.wait(5), "quiet", quiet=True)
    loud = session.start(lambda progress: progress.token.wait(5), "loud")
    assert [job for (job,) in announced] == [loud]
    assert session.announced == [loud]
    assert set(session.jobs) == {quiet, loud}
    release.set()


def test_closing_stops_every_job_and_waits_no_longer_than_asked():
    session = Session()
    patient = session.start(lambda progress: progress.token.wait(60), "listens")
    deaf_ends = Event()
    deaf = session.start(lambda progress: deaf_ends.wait(60), "does not listen")
    began = time.perf_counter()
    assert session.close(timeout_s=0.3) is False
    assert time.perf_counter() - began < 2
    assert patient.wait(5)
    deaf_ends.set()
    assert deaf.wait(5)
    assert session.close(timeout_s=1) is True


def test_a_session_that_is_forgotten_stops_its_jobs():
    session = Session()
    job = session.start(lambda progress: progress.token.wait(60), "job")
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None
    assert job.wait(5)


def test_a_model_is_named_after_its_run_or_its_file(tmp_path):
    from napari_vstain.core.models.spec import ModelSpec, OutputSpec

    spec = ModelSpec(sources=("Phase",), outputs=(OutputSpec(channels=("Nuclei",)),))
    run = Workspace.create(tmp_path).experiment("first").new_run()
    assert Model(tmp_path / "m.onnx", spec).name == "m.onnx"
    assert Model(tmp_path / "m.onnx", spec, run).name == "first/version_0"


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_what_fails_leaves_no_link_that_the_workspace_would_open_next(plate, tmp_path, verb):
    workspace = Workspace.create(tmp_path / "study")
    run = workspace.experiment("first").new_run()
    session = Session()
    session.open(workspace.root)
    session.open(plate)
    if verb == "train":
        job = session.train("first", session.split(), epochs=1, patch_px=4096)
    else:
        job = session.evaluate(run, session.split().test)
    with pytest.raises(VstainError):
        job.result()
    assert workspace.dataset_names() == []
    kept = workspace.link_dataset(plate)
    job = session.evaluate(run, session.split().test)
    with pytest.raises(VstainError):
        job.result()
    assert workspace.dataset_names() == [kept]


def test_patches_fit_small_images_unless_a_size_is_asked_for(tmp_path):
    from napari_vstain.core.data import open_dataset
    from napari_vstain.core.simulation import simulate_plate

    workspace = Workspace.create(tmp_path / "study")
    path = simulate_plate(workspace.new_dataset("small"), wells=("A/1", "B/2", "C/3"), fields=1, size=64)
    session = Session()
    session.open(workspace.root)
    job = session.train("first", session.split(), epochs=1)
    assert job.result().epochs == 1
    assert len(job.record.series["loss/train_epoch"]) == 1
    assert 0 < job.record.series["loss/train_step"].xy[0][-1] <= 1
    assert open_dataset(path).name == session.dataset.name
