"""Which open image is which source of a model: never a guess that could be another, never a target unasked."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["source", "target", "prediction", ""]
"""What an open image is for; "" where nobody said."""


@dataclass(frozen=True)
class OpenImage:
    """An open image, as far as it matters for what can be predicted from it."""

    key: Hashable
    """What a choice remembers: the channel of a dataset, so that it holds at every position; else the image itself."""
    channel: str
    """Its channel in the dataset; "" for an image of none."""
    name: str
    """What it is called on the screen."""
    role: Role = ""
    here: bool = True
    """False for an image of another position or dataset than the open one."""


def match_sources(
    sources: Sequence[str], images: Iterable[OpenImage], chosen: Mapping[str, Hashable]
) -> tuple[OpenImage | None, ...]:
    """Return the image for each source of a model, or None where only a person can say.

    What the user chose comes first, then the channel of the source's name, then, for a single source that is left,
    the channel whose role is source, then the only image there is. The order of the images does not matter, our own
    predictions are never among the answers, and no image is two sources unless somebody chose it for both.

    Parameters
    ----------
    chosen : mapping
        The keys of images that the user chose, by source. While such an image is not open, another one takes its
        place only by its name or its role: that it is the only one left says nothing.
    """
    offered = [image for image in images if image.role != "prediction"]
    found = {source: _by_choice(source, offered, chosen) for source in sources}
    _find_by_name(found, offered)
    left = [source for source, image in found.items() if image is None]
    if len(left) == 1:  # of two, nobody knows which is which
        free = [image for image in offered if image not in found.values() and image.role != "target"]
        of_role = [image for image in free if image.role == "source"]
        if of_role:
            found[left[0]] = _single(of_role)
        elif len(free) == 1 and left[0] not in chosen:
            found[left[0]] = free[0]
    return tuple(found[source] for source in sources)


def _by_choice(source: str, images: Sequence[OpenImage], chosen: Mapping[str, Hashable]) -> OpenImage | None:
    if source not in chosen:
        return None
    return _single([image for image in images if image.key == chosen[source]])


_NAMES: tuple[Callable[[OpenImage, str], bool], ...] = (
    lambda image, source: image.channel == source,
    lambda image, source: image.channel.casefold() == source.casefold(),
    lambda image, source: image.name == source and image.role != "target",
    lambda image, source: image.name.casefold() == source.casefold() and image.role != "target",
)
"""What makes an image the one of a source's name, the strongest first."""


def _find_by_name(found: dict[str, OpenImage | None], offered: Sequence[OpenImage]) -> None:
    """Fill in the images that bear the sources' names.

    All sources are asked by one rule before any is by the next, and what one has got is offered to no other: a layer
    of channel Phase that somebody called DIC is Phase. Of two that bear a name, or for two that one could be, nobody
    knows, and no weaker rule decides. An image that somebody chose for another source is still offered: that both
    are one image is then said, rather than a name forgotten.
    """
    taken: list[OpenImage] = []
    open_to = [source for source, image in found.items() if image is None]
    for bears in _NAMES:
        free = [image for image in offered if image not in taken]
        named = {source: images for source in open_to if (images := [image for image in free if bears(image, source)])}
        claims = {source: _single(images) for source, images in named.items()}
        for source, image in claims.items():
            if image is not None and list(claims.values()).count(image) == 1:
                found[source] = image
                taken.append(image)
        open_to = [source for source in open_to if source not in named]


def _single(images: Sequence[OpenImage]) -> OpenImage | None:
    """Return the only one of them, or the only one of the open position."""
    here = [image for image in images if image.here] or images
    return here[0] if len(here) == 1 else None
