"""Does a model know when it is wrong: the score of an unseen, corrupted image against what the corruption costs.

python benchmarks/trust.py [--quick] [--study FOLDER --experiment NAME]     prints JSON lines

A run is trained first: on E. coli where $VSTAIN_REAL_DATA names the folder of real images and without --quick, else on
simulated cells; or a run that is there is taken. Each of its test positions is corrupted in some twenty ways. Harm is a
drop of the Pearson correlation by more than 0.1; `harm_auroc` is how often a harmful image scores above a harmless one.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from _report import report, report_machine
from napari_vstain.core.data import ImportSettings, open_dataset, run_import
from napari_vstain.core.inference.loading import load_predictor
from napari_vstain.core.novelty import novelty
from napari_vstain.core.preprocessing import image_statistics
from napari_vstain.core.progress import Progress
from napari_vstain.core.simulation import simulate_plate
from napari_vstain.core.training import TrainSettings, run
from napari_vstain.core.workspace import Workspace

HARM = 0.1
"""A drop of the Pearson correlation that counts."""


def corruptions() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what may happen to an image, (Y, X), by name; `zoomed` is followed by the factor."""

    def left(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: np.hstack([change(x)[:, : int(0.4 * x.shape[1])], x[:, int(0.4 * x.shape[1]) :]])

    def noise(share: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: x + np.random.default_rng(1).normal(0, share * x.std(), x.shape)

    return {
        "inverted": lambda x: x.max() + x.min() - x,
        "left inverted": left(lambda x: 2 * np.median(x) - x),
        "blurred 1": lambda x: gaussian_filter(x, 1),
        "blurred 2": lambda x: gaussian_filter(x, 2),
        "blurred 4": lambda x: gaussian_filter(x, 4),
        "left blurred 4": left(lambda x: gaussian_filter(x, 4)),
        "left blurred 8": left(lambda x: gaussian_filter(x, 8)),
        "clipped above p30": lambda x: np.minimum(x, np.percentile(x, 30)),
        "clipped below p30": lambda x: np.maximum(x, np.percentile(x, 30)),
        "clipped above p60": lambda x: np.minimum(x, np.percentile(x, 60)),
        "noise 0.3": noise(0.3),
        "noise 1": noise(1.0),
        "noise only": lambda x: np.random.default_rng(3).normal(x.mean(), x.std(), x.shape),
        "gamma 0.5": lambda x: (x - x.min()) ** 0.5,
        "gamma 2": lambda x: (x - x.min()) ** 2,
        "sharpened": lambda x: 2 * x - gaussian_filter(x, 2),
        "16 grey levels": lambda x: np.round((x - x.min()) / np.ptp(x) * 15),
        "hot pixels": lambda x: np.where(np.random.default_rng(2).random(x.shape) < 0.002, 4 * x.max(), x),
        "stripes": lambda x: x + x.std() * (np.arange(len(x)) % 16 < 8)[:, None],
        "zoomed 0.67": lambda x: zoom(x, 0.67, order=1),
        "zoomed 1.5": lambda x: zoom(x, 1.5, order=1),
    }


def main() -> None:
    """Train, corrupt, predict, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small model of simulated cells")
    parser.add_argument("--study", type=Path, help="a workspace that holds a trained run")
    parser.add_argument("--experiment", default="trust", help="the run's experiment")
    given = parser.parse_args()
    report_machine(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(given.study) if given.study else Workspace.create(Path(folder) / "study")
        if given.study is None:
            train(workspace, given.experiment, given.quick)
        measure(workspace, given.experiment)


def train(workspace: Workspace, experiment: str, quick: bool) -> None:
    """Train on E. coli, or on simulated cells."""
    root = "" if quick else os.environ.get("VSTAIN_REAL_DATA", "")
    if root:
        settings = ImportSettings(
            source=Path(root) / "ecoli_phase_fluorescence", pattern="ecoli_HG105_{position}_{channel}.tif",
            name="ecoli", register_to="fitc",
        )  # fmt: skip
        keys = run_import(settings, workspace, Progress()).positions
        split = {"train": keys[:5], "validate": keys[5:6], "test": keys[6:]}
        chosen = {"dataset": "ecoli", "sources": ["phase"], "targets": ["fitc"], "epochs": 12}
    else:
        fields = 4 if quick else 8
        path = simulate_plate(workspace.new_dataset("cells"), wells=("A/1", "B/2"), fields=fields, size=384)
        keys = tuple(open_dataset(path).positions)
        split = {"train": keys[: fields + 1], "validate": keys[fields + 1 : fields + 2], "test": keys[fields + 2 :]}
        chosen = {"dataset": "cells", "sources": ["Phase"], "targets": ["Nuclei"], "epochs": 8}
    run(TrainSettings.quick(experiment, **chosen, **split), workspace, Progress())


def measure(workspace: Workspace, experiment: str) -> None:
    """Score every test position, clean and corrupted, and report what the scores are worth."""
    predictor = load_predictor(workspace.experiment(experiment).run().checkpoint)
    spec = predictor.spec
    dataset = open_dataset(workspace.find_dataset(spec.training.dataset), workspace)
    scores, drops, alarms = [], [], []
    for key in spec.training.positions.test:
        position = dataset.position(key)
        image = position.read(spec.sources)[0, 0].astype(np.float32)
        target = position.read(spec.targets)[0, 0].astype(np.float32)
        clean = pearson(predicted(predictor, image), target)
        alarms += [score(spec, part) > 1 for part in (image, *quarters(image))]
        for name, corrupt in corruptions().items():
            spoilt = corrupt(image).astype(np.float32)
            made = predicted(predictor, spoilt)
            truth = zoom(target, float(name.split()[1]), order=1) if name.startswith("zoomed") else target
            scores.append(score(spec, spoilt))
            drops.append(clean - pearson(made, truth))
    size, harmful = f"{dataset.name}, {len(scores)} images", np.array(drops) > HARM
    report("harm_auroc", auroc(np.array(scores), harmful), "", size, f"drop > {HARM}", len(scores))
    report("harm_flagged_share", float(np.mean(np.array(scores)[harmful] > 1)), "", size, "", int(harmful.sum()))
    report(
        "harmless_flagged_share", float(np.mean(np.array(scores)[~harmful] > 1)), "", size, "", int((~harmful).sum())
    )
    report("false_alarm_share", float(np.mean(alarms)), "", f"{dataset.name}, clean", "", len(alarms))


def predicted(predictor: object, image: np.ndarray) -> np.ndarray:
    """Return the first target of an image, (Y, X), normalized by its own statistics."""
    known = dict.fromkeys(predictor.spec.sources, image_statistics(image))
    return next(iter(predictor.predict(image[None], statistics=known).values()))[0]


def score(spec: object, image: np.ndarray) -> float:
    """Return how unlike the training images one is: beyond 1 it is flagged."""
    return novelty(spec, image[None])[0].score


def quarters(image: np.ndarray) -> list[np.ndarray]:
    """Return the quarters of an image, as smaller images of the same kind."""
    y, x = (size // 2 for size in image.shape)
    return [image[:y, :x], image[:y, x:], image[y:, :x], image[y:, x:]]


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation, 0 where one is constant."""
    with np.errstate(all="ignore"):
        return float(np.nan_to_num(np.corrcoef(one.ravel(), other.ravel())[0, 1]))


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return how often a positive scores above a negative; ties count half."""
    above, below = scores[positive][:, None], scores[~positive][None]
    return float(((above > below) + 0.5 * (above == below)).mean())


if __name__ == "__main__":
    main()
