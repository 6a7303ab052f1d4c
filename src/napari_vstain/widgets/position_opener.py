"""The position that is shown is the one that is chosen: whatever was asked for last is opened and shown, nothing else.

A path is opened, a position read and layers added without the window standing still; a later question, whoever asks
it (a dock, a key, a plate dropped on the canvas), makes all of an earlier one void.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from qtpy.QtCore import QObject, Signal

from napari_vstain.core.jobs import Job
from napari_vstain.core.progress import Progress
from napari_vstain.core.session import Opened, Session, open_path
from napari_vstain.widgets.compat import bind_key
from napari_vstain.widgets.layers.arrivals import Arrivals
from napari_vstain.widgets.layers.contrast import Contrast
from napari_vstain.widgets.layers.positions import Picture, put_away, read_pictures, show_pictures
from napari_vstain.widgets.layers.predictions import Predictions
from napari_vstain.widgets.layers.registry import LayerRegistry
from napari_vstain.widgets.main_thread import JobEventPump, run_in_steps

if TYPE_CHECKING:
    from napari_vstain.core.data import Position

NEXT_KEY, FORMER_KEY = "N", "Shift-N"
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Opener(QObject):
    """Opens datasets and shows positions, for all docks of one viewer."""

    began = Signal(str)
    """What is being opened or read, in words."""
    opened = Signal()
    """The session has what was opened."""
    shown = Signal()
    """The layers of the open position are there."""
    failed = Signal(object)

    def __init__(
        self,
        viewer: Any,
        session: Session,
        pump: JobEventPump,
        registry: LayerRegistry,
        contrast: Contrast,
        predictions: Predictions,
    ) -> None:
        super().__init__()
        self._viewer, self._session, self._pump, self._registry = ref(viewer), session, pump, registry
        self._contrast, self._predictions = contrast, predictions
        self._question = 0
        self._wanted: tuple[str, str] | None = None
        """Dataset and position that are shown, or will be."""
        self.arrivals = Arrivals(viewer, registry)
        self.arrivals.came.connect(self._take_in)

    def open(self, path: Path | str) -> Job[Opened]:
        """Open a workspace or an OME-Zarr, and show its first position."""
        return self.run(f"Opening {Path(path).name}…", lambda progress: open_path(path, self._session.workspace))

    def run(self, message: str, function: Callable[[Progress], Opened]) -> Job[Opened]:
        """Open what `function` makes in the background, and show its first position."""
        return self._ask(message, function, self._adopt, self._too_late)

    def show(self) -> None:
        """Read the open position, and show it."""
        session = self._session
        dataset, position, roles = session.open_dataset, session.position, (session.sources, session.targets)
        if position is None:
            return
        self._wanted = str(dataset.path), position.key
        self._ask(
            f"Loading {position.key}…",
            lambda progress: read_pictures(dataset, position, *roles, progress),
            self._show_pictures,
        )

    def follow(self, position: "Position") -> None:
        """Show a position that was chosen, unless it is shown, or read, already."""
        dataset = self._session.dataset
        if dataset is not None and self._wanted != (str(dataset.path), position.key):
            self.show()

    def go(self, key: str) -> None:
        """Choose a position, and show it."""
        self._session.choose_position(key)
        self.show()

    def step(self, step: int) -> None:
        """Choose the position that is `step` on, and show it; at the ends, and with nothing open, nothing happens."""
        if self._session.dataset is None:
            return
        before = self._session.position
        self._session.step_position(step)
        if self._session.position is not before:
            self.show()

    # One question at a time

    def _ask(
        self,
        message: str,
        function: Callable[[Progress], T],
        then: Callable[[T], object],
        late: Callable[[T], object] = lambda answer: None,
    ) -> Job[T]:
        self._question += 1
        number = self._question

        def answer(value: T) -> None:
            (then if number == self._question else late)(value)

        def fail(error: BaseException) -> None:
            if number == self._question:
                self._wanted = None
                _log.info("nothing was opened: %s", error)
                self.failed.emit(error)

        self.began.emit(message)
        return self._pump.call(self._session, function, answer, fail, self)

    def _adopt(self, opened: Opened) -> None:
        self._wanted = None  # a dataset that is opened again is shown again
        self._session.adopt(opened)
        self.opened.emit()
        if self._session.position is not None and opened.dataset is not None:
            self.follow(self._session.position)

    def _too_late(self, opened: Opened) -> None:
        """Another dataset was asked for meanwhile: of this one only the workspace is taken, if there is none."""
        if self._session.workspace is None:
            self._session.adopt(Opened(opened.workspace, None))

    def _show_pictures(self, pictures: list[Picture]) -> None:
        viewer = self._viewer()
        if viewer is None or not pictures:
            return
        origin = pictures[0].origin
        place = origin.dataset, origin.position
        self._predictions.leave(place)
        steps = chain(
            show_pictures(viewer, self._registry, self._contrast, pictures), self._predictions.come_back(place)
        )
        run_in_steps(self, self._whole(steps), then=lambda: None)

    def _whole(self, steps: Iterator[None]) -> Iterator[None]:
        """Yield from `steps` until something else is asked for."""
        number = self._question
        for _ in steps:
            yield
            if number != self._question:
                return
        self.shown.emit()

    # What others put on the canvas

    def _take_in(self, layers: list[Any]) -> None:
        """Make the dataset and position of layers that our reader made the session's."""
        said = layers[-1].metadata["vstain"]
        path, key = said["path"], said["position"]
        session = self._session
        if self._wanted == (path, key):  # a layer of them came later than the others
            self._assign((path, key))
            return

        def adopt(opened: Opened) -> None:
            assert opened.dataset is not None
            self._wanted = str(opened.dataset.path), key
            session.adopt(opened, key)
            self._assign((path, key))
            viewer = self._viewer()
            if viewer is not None:
                put_away(viewer, self._registry, keep=(path, key))
                self._predictions.leave((path, key))
                list(self._predictions.come_back((path, key)))
            self.opened.emit()
            self.shown.emit()

        self._ask(f"Opening {Path(path).name}…", lambda progress: open_path(path, session.workspace), adopt)

    def _assign(self, place: tuple[str, str]) -> None:
        """Note which of the layers of a position show targets."""
        for layer, origin in self._registry.shown(self._viewer(), "source"):
            if (origin.dataset, origin.position) == place and origin.channel in self._session.targets:
                self._registry.add(layer, replace(origin, kind="target"))
                self._contrast.follow(layer)


def bind_steps(viewer: Any, opener: Opener) -> None:
    """Bind the keys that go to the next and to the former position; they keep no opener alive."""
    living = ref(opener)

    def step(by: int) -> Callable[[Any], None]:
        def go_to_position(viewer: Any) -> None:
            if (opener := living()) is not None:
                opener.step(by)

        return go_to_position

    bind_key(viewer, NEXT_KEY, step(1))
    bind_key(viewer, FORMER_KEY, step(-1))
