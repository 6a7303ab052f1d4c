"""Models that were made elsewhere predict here what they predict there, from the settings file alone."""

import json
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from napari_vstain.cli import main
from napari_vstain.cli.predict import VERB
from napari_vstain.cli.verb import settings_values
from napari_vstain.core.data import create_plate, open_dataset
from napari_vstain.core.errors import ModelError, SettingsError
from napari_vstain.core.inference import ModelNotes, PredictSettings, load_predictor, run
from napari_vstain.core.models.files.model_file import open_model
from napari_vstain.core.models.files.model_notes import fixed_numbers
from napari_vstain.core.models.spec import Normalization, Statistics
from napari_vstain.core.models.viscy_unet import VisCyUNet2D
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

from ...inference.networks import noise
from ...inference.plates import plate

SIZES = ["batch", 1, "height", "width"]


def weights() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.3, (2, 1, 5, 5)).astype(np.float32)


@pytest.fixture
def onnx_file(tmp_path) -> Path:
    """A convolution of 5 px, as another program writes it: names of its own, and no metadata."""
    node = helper.make_node("Conv", ["picture", "kernel"], ["result"], pads=[2, 2, 2, 2])
    graph = helper.make_graph(
        [node],
        "convolution",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, SIZES)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["batch", 2, "height", "width"])],
        [numpy_helper.from_array(weights(), "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "theirs.onnx")
    return tmp_path / "theirs.onnx"


def theirs(path: Path, image: np.ndarray) -> np.ndarray:
    """Return what the file gives for a whole image, run plainly."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"picture": image[None]})[0][0]


def load(path, **known):
    named = {"sources": ("Phase",), "targets": ("Nuclei", "Membrane"), **known}
    return load_predictor(path, notes=ModelNotes(**named), engine="onnxruntime", device="cpu", threads=1)


@pytest.mark.parametrize("tile_px", [32, 512])
def test_an_onnx_file_predicts_what_it_predicts_on_the_whole_image_up_to_its_borders(onnx_file, tile_px):
    image = noise((1, 70, 85))
    predicted = load(onnx_file).predict(image, tile_px)["stain"]
    np.testing.assert_allclose(predicted, theirs(onnx_file, image), rtol=1e-5, atol=1e-4)


def test_its_normalization_is_done_before_and_undone_after(onnx_file):
    image = noise((1, 40, 48)) * 3
    numbers = Statistics(mean=7, std=5, median=7, iqr=5)
    predictor = load(
        onnx_file,
        source_normalization=Normalization(level="fov"),
        target_normalization=Normalization(),
        statistics={"Nuclei": numbers, "Membrane": numbers},
    )
    level = {"Phase": Statistics(mean=float(image.mean()), std=float(image.std()), median=0, iqr=1)}
    predicted = predictor.predict(image, statistics=level)["stain"]
    expected = theirs(onnx_file, (image - image.mean()) / image.std()) * 5 + 7
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-4)


def test_a_worker_loads_it_anew_from_its_file_and_measures_nothing_again(onnx_file, monkeypatch):
    predictor = load(onnx_file)
    parcel = pickle.dumps(predictor)
    assert b"kernel" not in parcel
    monkeypatch.setattr("napari_vstain.core.models.files.third_party.third_party_spec", None)
    image = noise((1, 40, 48))
    again = pickle.loads(parcel)
    assert again.model == predictor.model
    np.testing.assert_array_equal(again.predict(image)["stain"], predictor.predict(image)["stain"])


def test_the_command_line_predicts_with_it_and_its_settings_file_replays_it(tmp_path, onnx_file, monkeypatch):
    workspace = Workspace.create(tmp_path / "study")
    monkeypatch.chdir(workspace.root)
    plate(workspace.new_dataset("noise"), keys=("A/1/0",), shape=(1, 2, 1, 90, 70))
    named = ["--model-info.sources", "Phase", "--model-info.targets", "Nuclei", "Membrane"]
    run_on = ["--engine", "onnxruntime", "--device", "cpu", "--threads", "1"]
    assert main(["predict", "noise", "--model", str(onnx_file), *named, *run_on]) == 0
    (store,) = workspace.root.glob("evaluation/*/predictions.zarr")
    position = open_dataset(store).position("A/1/0")
    source = open_dataset(workspace.dataset("noise")).position("A/1/0").read(["Phase"])[:, 0]
    stored = position.read(["Nuclei_prediction", "Membrane_prediction"])[:, 0]
    np.testing.assert_allclose(stored, theirs(onnx_file, source), rtol=1e-5, atol=1e-4)
    settings = PredictSettings.load(store.with_suffix(".yml"))
    assert settings.model_info.sources == ("Phase",)
    again = settings.model_copy(update={"output": tmp_path / "again.zarr"})
    result = run(again, workspace, Progress())
    replayed = open_dataset(result.store).position("A/1/0").read(["Nuclei_prediction", "Membrane_prediction"])
    np.testing.assert_array_equal(replayed[:, 0], stored)


@pytest.mark.parametrize("word", ["elsewhere", "model_info"])
def test_a_settings_file_and_an_option_of_before_say_the_same(tmp_path, word):
    file = tmp_path / "predictions.yml"
    file.write_text(f"dataset: cells\n{word}:\n  sources: [Phase]\n")
    assert PredictSettings.load(file).model_info == ModelNotes(sources=("Phase",))
    given = ["--config", str(file), f"--{word.replace('_', '-')}.targets", "Nuclei", "DNA"]
    values = settings_values(VERB.parser("vstain predict").parse_args(given))
    assert PredictSettings.parse(values).model_info == ModelNotes(sources=("Phase",), targets=("Nuclei", "DNA"))
    assert "elsewhere" not in VERB.parser("vstain predict").format_help()


def test_what_is_not_said_is_asked_for(onnx_file, tmp_path):
    with pytest.raises(ModelError, match="name its source and target channels"):
        load_predictor(onnx_file)
    with pytest.raises(SettingsError, match=r"model_info\.targets.*are needed"):
        load(onnx_file, targets=())
    with pytest.raises(SettingsError, match=r"model_info\.statistics.*none of Phase"):
        load(onnx_file, source_normalization=Normalization())
    (tmp_path / "theirs.ckpt").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"model_info\.config.*is needed"):
        load(tmp_path / "theirs.ckpt")


@pytest.mark.parametrize(
    ("subtract", "divide", "said"),
    [
        ((1, 2, 3), (1,), "3 numbers for 2 channels"),
        ((), (1,), "0 numbers for 2"),
        ((0,), (1, 0), "not above 0"),
        ((0,), (-2,), "not above 0"),
        ((0,), (float("nan"),), "not finite"),
        ((float("inf"),), (1,), "not finite"),
        ((float("-inf"),), (1,), "not finite"),
    ],
)
def test_fixed_numbers_that_make_no_sense_are_refused(subtract, divide, said):
    with pytest.raises(SettingsError, match=said):
        fixed_numbers(("Phase", "BF"), subtract, divide)


def test_fixed_numbers_are_one_for_all_or_one_for_each():
    found = fixed_numbers(("Phase", "BF"), (100,), (2, 4))
    assert {name: Normalization().offset_and_divisor(known) for name, known in found.items()} == {
        "Phase": (100, pytest.approx(2)),
        "BF": (100, pytest.approx(4)),
    }


def test_what_it_takes_and_gives_is_known_without_an_engine(onnx_file):
    spec = open_model(onnx_file, ModelNotes(sources=("Phase",), targets=("a", "b"))).spec()
    assert (spec.sources, spec.targets, spec.halo) == (("Phase",), ("a", "b"), (0, 2, 2))


@pytest.fixture
def viscy(real_data: Path) -> Path:
    return real_data / "viscy_unet2d"


@pytest.mark.real_data("viscy_unet2d")
@pytest.mark.parametrize("tile_px", [None, 128])
@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_a_viscy_checkpoint_predicts_what_viscy_predicted_in_tiles_too(viscy, engine, tile_px):
    pytest.importorskip(engine)
    reference = np.load(viscy / "reference.npz")
    config = json.loads((viscy / "config.json").read_text())
    numbers = config["normalization"]["Phase3D"]["fov_statistics"]
    known = Statistics.parse({key: numbers[key] for key in Statistics.model_fields if key in numbers})
    predictor = load_predictor(
        viscy / "model.ckpt", notes=ModelNotes(config=viscy / "config.json"), engine=engine, threads=1
    )
    made = predictor.predict(reference["source"][0], tile_px, statistics={"Phase3D": known})["stain"]
    expected = reference["prediction"][0]
    assert np.abs(made - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(65, 50), (71, 63)])
def test_a_viscy_checkpoint_predicts_at_any_size_what_viscy_predicts(tmp_path, size):
    from monai.transforms import DivisiblePad

    torch.manual_seed(0)
    network = VisCyUNet2D(num_filters=[2, 4, 4, 4], num_blocks=3, task="reg").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save({"state_dict": {f"model.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "viscy.ckpt")
    model = {"architecture": "2D", "model_config": {"num_filters": [2, 4, 4, 4], "num_blocks": 3, "task": "reg"}}
    channels = {"source_channel": "P", "prediction_channels": ["N"]}
    channels |= {"source_normalization": {"level": "fov_statistics"}}
    (tmp_path / "config.json").write_text(json.dumps({"model": model, **channels}))
    image = noise((1, *size))
    pad = DivisiblePad((8, 8))  # zeros on both sides, as VisCy's predict_step does with normalized images
    with torch.inference_mode():
        expected = pad.inverse(network(pad(torch.from_numpy((image - 100) / 20))[None])[0]).numpy()
    predictor = load_predictor(
        tmp_path / "viscy.ckpt",
        notes=ModelNotes(config=tmp_path / "config.json"),
        engine="torch",
        device="cpu",
        threads=1,
    )
    known = {"P": Statistics(mean=100, std=20, median=100, iqr=20)}
    for tile_px in (24, 512):
        made = predictor.predict(image, tile_px, statistics=known)["stain"]
        assert np.abs(made - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_viscy_checkpoint_is_loaded_anew_from_its_file_and_configuration_in_any_folder(tmp_path, monkeypatch):
    network = VisCyUNet2D(num_filters=[2, 4], num_blocks=1, task="reg")
    torch.save({"state_dict": {f"model.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "viscy.ckpt")
    model = {"architecture": "2D", "model_config": {"num_filters": [2, 4], "num_blocks": 1, "task": "reg"}}
    channels = {"source_channel": "P", "prediction_channels": ["N"]}
    channels |= {"source_normalization": {"level": "fov_statistics"}}
    (tmp_path / "config.json").write_text(json.dumps({"model": model, **channels}))
    monkeypatch.chdir(tmp_path)
    predictor = load_predictor(
        "viscy.ckpt", notes=ModelNotes(config=Path("config.json")), engine="torch", device="cpu", threads=1
    )
    parcel = pickle.dumps(predictor)
    assert len(parcel) < 3000
    monkeypatch.chdir("/")
    image = noise((1, 40, 48))
    np.testing.assert_array_equal(pickle.loads(parcel).predict(image)["stain"], predictor.predict(image)["stain"])


@pytest.mark.real_data("viscy_unet2d")
def test_the_command_line_reproduces_viscys_prediction_from_a_plate_with_viscys_statistics(
    viscy, tmp_path, monkeypatch
):
    workspace = Workspace.create(tmp_path / "study")
    monkeypatch.chdir(workspace.root)
    reference = np.load(viscy / "reference.npz")
    config = json.loads((viscy / "config.json").read_text())
    path = workspace.new_dataset("plate")
    with create_plate(path, ["Phase3D"]) as writer:
        writer.add_position("A/1/0", reference["source"].shape, np.float32)[:] = reference["source"]
    open_dataset(path).position("A/1/0").set_attribute("normalization", config["normalization"])
    model = ["--model", str(viscy / "model.ckpt"), "--model-info.config", str(viscy / "config.json")]
    assert main(["predict", "plate", *model, "--engine", "torch", "--threads", "1"]) == 0
    (store,) = workspace.root.glob("evaluation/*/predictions.zarr")
    made = open_dataset(store).position("A/1/0").read(["Nuclei_prediction", "Membrane_prediction"])
    expected = reference["prediction"][0]
    assert np.abs(made - expected).max() <= 1e-5 * np.abs(expected).max()
