"""`open_model`: a file to predict with, whatever its format, and whoever says what it takes and gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_vstain.core.errors import ModelError, SettingsError
from napari_vstain.core.models.files.model_notes import Lacks, ModelNotes
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.progress import CancelToken

if TYPE_CHECKING:
    from torch import nn

_ONNX = ".onnx"


class ModelFile(Protocol):
    """A model on disk. Opening it reads nothing; a copy that was pickled opens it on another computer."""

    @property
    def path(self) -> Path:
        """The file, an absolute path: a worker is in another folder."""
        ...

    def spec(self, token: CancelToken | None = None) -> ModelSpec:
        """Return what the model takes and gives; no weights of our own checkpoints are read.

        Parameters
        ----------
        token : CancelToken, optional
            Asked while a third-party network is followed or measured, which takes seconds.

        Raises
        ------
        ModelError
            When the file is no model, is damaged, or does not fit what is said of it.
        SettingsError
            When what is said of it is not enough.
        """
        ...

    def lacks(self) -> Lacks | None:
        """Return what somebody must say before it can predict; None when nothing. No weights are read.

        Raises
        ------
        ModelError
            When the file is no model, or is damaged.
        """
        ...

    def load(self, token: CancelToken | None = None) -> "tuple[ModelSpec, nn.Module | Path]":
        """Return the spec, and the network as `engines.load_engine` takes it.

        Both come from one reading: a checkpoint may be replaced by the next epoch's between two.

        Raises
        ------
        ModelError, SettingsError
            As `spec`.
        """
        ...


def open_model(path: Path | str, notes: ModelNotes | None = None, spec: ModelSpec | None = None) -> ModelFile:
    """Return a model file, of which nothing is read yet.

    Parameters
    ----------
    path : path
        A checkpoint, or an ONNX file: what ends in ``.onnx``.
    notes : ModelNotes, optional
        What somebody says of a third-party file. Empty ones say nothing: the file then speaks for itself.
    spec : ModelSpec, optional
        What a third-party ONNX file takes and gives, where that is known: it is not measured again.
    """
    path = Path(path).expanduser().absolute()
    said = ModelNotes() if notes is None else notes.absolute()
    if path.suffix == _ONNX:
        return OnnxFile(path) if said == ModelNotes() and spec is None else ThirdPartyOnnx(path, said, spec)
    return CheckpointFile(path) if said == ModelNotes() else VisCyFile(path, said)


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint that was trained here, or one of which nothing is said."""

    path: Path

    def spec(self, token: CancelToken | None = None) -> ModelSpec:
        """Return what it says of itself."""
        from napari_vstain.core.models.files.checkpoint import load_spec

        return load_spec(self.path)

    def lacks(self) -> Lacks | None:
        """Return that a VisCy checkpoint needs a configuration: the one beside it, where there is only one."""
        from napari_vstain.core.models.files.checkpoint import KEY, read_checkpoint
        from napari_vstain.core.models.files.viscy import PREFIX

        content = read_checkpoint(self.path, lazily=True)
        state = content.get("state_dict")
        if KEY in content or not isinstance(state, dict) or not all(str(name).startswith(PREFIX) for name in state):
            return None
        beside = [file for file in self.path.parent.iterdir() if file.suffix in (".yml", ".yaml", ".json")]
        return Lacks(self.path, "config", beside[0] if len(beside) == 1 else None)

    def load(self, token: CancelToken | None = None) -> "tuple[ModelSpec, nn.Module | Path]":
        """Return what it says of itself, and its network on the CPU."""
        from napari_vstain.core.models.files.checkpoint import load_checkpoint

        return load_checkpoint(self.path)


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that was exported here, or one of which nothing is said."""

    path: Path

    def spec(self, token: CancelToken | None = None) -> ModelSpec:
        """Return what it says of itself, once it was found to be whole."""
        from napari_vstain.core.models.files.onnx_file import read_spec

        return read_spec(self.path)

    def lacks(self) -> Lacks | None:
        """Return that another maker's file needs the names of its channels."""
        from napari_vstain.core.models.files.onnx_file import has_spec

        return None if has_spec(self.path) else Lacks(self.path, "channels")

    def load(self, token: CancelToken | None = None) -> "tuple[ModelSpec, nn.Module | Path]":
        """Return what it says of itself, and its path."""
        return self.spec(), self.path


@dataclass(frozen=True)
class VisCyFile:
    """A checkpoint of VisCy's 2D U-Net, with the configuration that it was trained or predicted with."""

    path: Path
    notes: ModelNotes

    def spec(self, token: CancelToken | None = None) -> ModelSpec:
        """Return what the configuration says, once it was found to fit the weights."""
        return self.load(token)[0]

    def lacks(self) -> Lacks | None:
        """Return that the configuration is needed, where the notes do not name it."""
        return Lacks(self.path, "config") if self.notes.config is None else None

    def load(self, token: CancelToken | None = None) -> "tuple[ModelSpec, nn.Module | Path]":
        """Return what the configuration says, and the network on the CPU."""
        if self.notes.config is None:
            rule = "is needed for a checkpoint that was not made here"
            raise SettingsError("model_info.config", None, rule, "give the configuration that VisCy trained with")
        from napari_vstain.core.models.files.viscy import load_viscy

        return load_viscy(self.path, self.notes.config)


@dataclass
class ThirdPartyOnnx:
    """An ONNX file of another maker; how far it looks is followed or measured once, and kept."""

    path: Path
    notes: ModelNotes
    known: ModelSpec | None = None

    def spec(self, token: CancelToken | None = None) -> ModelSpec:
        """Return what the notes and the graph say."""
        if self.known is None:
            self.known = self._followed(token)
        return self.known

    def lacks(self) -> Lacks | None:
        """Return that the names of its channels are needed, where the notes lack them."""
        named = self.known is not None or (self.notes.sources and self.notes.targets)
        return None if named else Lacks(self.path, "channels")

    def load(self, token: CancelToken | None = None) -> "tuple[ModelSpec, nn.Module | Path]":
        """Return what the notes and the graph say, and the path."""
        return self.spec(token), self.path

    def _followed(self, token: CancelToken | None) -> ModelSpec:
        from napari_vstain.core.models.files.onnx_file import has_spec
        from napari_vstain.core.models.files.third_party import third_party_spec

        if has_spec(self.path):
            raise ModelError("model", self.path, "says itself what it takes and gives", "leave `model_info` out")
        for name in ("sources", "targets"):
            if not getattr(self.notes, name):
                rule = "are needed for an ONNX file that was not made here"
                raise SettingsError(f"model_info.{name}", None, rule, "name its channels, in its order")
        return third_party_spec(
            self.path,
            self.notes.sources,
            self.notes.targets,
            source_normalization=self.notes.source_normalization,
            target_normalization=self.notes.target_normalization,
            statistics=self.notes.used_statistics(),
            spacing_um=self.notes.spacing_um,
            token=token,
        )
