"""The keys of the Predict dock, bound on the viewer; they keep no dock alive."""

from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

from napari_vstain.widgets.compat import bind_key
from napari_vstain.widgets.layers.flip import flip
from napari_vstain.widgets.section import Section
from napari_vstain.widgets.viewer_context import ViewerContext

PREDICT_KEY, FLIP_KEY = "G", "H"


def bind_keys(section: Section, method: str) -> str:
    """Bind both keys; `method` of the section predicts. Return what takes the predict key already, else ""."""
    viewer = section.context.viewer
    taken = bind_key(viewer, PREDICT_KEY, _later(section, method))
    bind_key(viewer, FLIP_KEY, flipper(section.context))
    return taken


def flipper(context: ViewerContext) -> Callable[[Any], Iterator[None]]:
    """Return what the flip key does: on press and, after its yield, on release."""
    registry = context.registry

    def flip_prediction(viewer: Any) -> Iterator[None]:
        yield from flip(viewer, registry)

    return flip_prediction


def _later(section: Section, method: str) -> Callable[[Any], None]:
    """Return a key's function that calls a method of a section while it lives."""
    reference = ref(section)

    def predict_this_field(viewer: Any) -> None:
        living = reference()
        if living is not None:
            getattr(living, method)()

    return predict_this_field
