"""What OME-XML says of a TIFF: the images that have planes in this very file, whatever set of files it belongs to."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_vstain.core.arrays import Spacing
from napari_vstain.core.data.lengths import length
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.files import reading

_Element = ElementTree.Element


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-TIFF."""

    name: str
    channels: tuple[str | None, ...]
    """Names by channel; None where there is none."""
    spacing_um: Spacing | None


def own_description(text: str, path: Path) -> str:
    """Return the OME-XML of a file, cut down to the images that have planes in it.

    Each file of a set describes the whole set, or says in which file the description lies. An image that is wholly in
    other files is theirs: read from here, every position would get the pixels of the first.

    Raises
    ------
    DatasetError
        When the description cannot be read, lies in a file that is not there, names files in other folders, or
        describes no image of this file.
    """
    root = _parsed(text, path)
    elsewhere = root.find("{*}BinaryOnly")
    if elsewhere is not None:
        own = root.get("UUID")
        root = _companion(elsewhere.get("MetadataFile") or "", path)
        if own:
            root.set("UUID", own)
    images = root.findall("{*}Image")
    if not images:
        raise DatasetError("file", path, "has an OME description of no image", "export it again")
    named = {name for image in images for name in _file_names(image)}
    if len(named) == 1 and len({uuid.text for image in images for uuid in image.iter() if _is_uuid(uuid)}) == 1:
        _forget_files(images)  # it was given another name, and there is no other file to mean
    by_name = path.name in named
    for image in images:
        if not _has_planes_in(image, path, None if by_name else root.get("UUID")):
            root.remove(image)
    for name in {name for image in root.findall("{*}Image") for name in _file_names(image)}:
        beside(path, name)
    if root.find("{*}Image") is None:
        rule = f"has an OME description that names only other files ({', '.join(sorted(named)[:2])})"
        raise DatasetError("file", path, rule, "give it the name that it was written with")
    return ElementTree.tostring(root, encoding="unicode")


def images_of(text: str, path: Path) -> list[OmeImage]:
    """Return what OME-XML says of each image."""
    return [_image(image) for image in _parsed(text, path).findall("{*}Image")]


def beside(path: Path, name: str) -> Path:
    """Return the file `name` that the metadata of the one at `path` names: in the same folder, wherever that is.

    Raises
    ------
    DatasetError
        When it is in another folder, or leads there.
    """
    file = path.parent / name
    folders = (path.parent.resolve(), path.resolve().parent)
    plain = name not in ("", ".", "..") and not set(name) & set("/\\\0") and ":" not in name
    with reading("file", path, f"names a file that cannot be looked for ({name!r:.80})", "export it again"):
        if plain and (not file.is_symlink() or file.resolve().parent in folders):
            return file
    raise DatasetError("file", path, f"names the file {name!r:.80}, which leads out of its folder", "export it again")


def _parsed(text: str, path: Path) -> _Element:
    rule = "has an OME description that cannot be read"
    with reading("file", path, rule, "export it again, or state its axes (`axes`)"):
        return ElementTree.fromstring(text.strip("\0 \n"))


def _companion(name: str, path: Path) -> _Element:
    """Return the description in the file that the one at `path` refers to."""
    file = beside(path, name)
    if not file.is_file():
        rule = f"is described in {name}, which is not beside it"
        raise DatasetError("file", path, rule, "copy that file there too")
    if file.suffix.lower() not in (".tif", ".tiff"):
        with reading("file", file, "is the OME description of others and cannot be read"):
            return ElementTree.fromstring(file.read_bytes())
    from tifffile import TiffFile

    with reading("file", file, "is the OME description of others and cannot be read"), TiffFile(file) as described:
        return ElementTree.fromstring(described.ome_metadata or "")


def _has_planes_in(image: _Element, path: Path, own_uuid: str | None) -> bool:
    """Return True if an image has planes in the file at `path`: by the file's name, else by its UUID."""
    for data in image.iter():
        if not _named(data, "TiffData"):
            continue
        uuid = data.find("{*}UUID")
        if uuid is None or uuid.get("FileName") == path.name or (own_uuid is not None and uuid.text == own_uuid):
            return True
    return False


def _forget_files(images: list[_Element]) -> None:
    for image in images:
        for data in image.iter():
            if _named(data, "TiffData"):
                for uuid in [child for child in data if _is_uuid(child)]:
                    data.remove(uuid)


def _file_names(image: _Element) -> Iterator[str]:
    for element in image.iter():
        if _is_uuid(element) and element.get("FileName") is not None:
            yield element.get("FileName", "")


def _is_uuid(element: _Element) -> bool:
    return _named(element, "UUID")


def _named(element: _Element, name: str) -> bool:
    return str(element.tag).rpartition("}")[2] == name  # the tag of a comment is a function


def _image(image: _Element) -> OmeImage:
    pixels = image.find("{*}Pixels")
    said = pixels if pixels is not None else ElementTree.Element("Pixels")
    z, y, x = (length(said.get(f"PhysicalSize{axis}"), said.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX")
    names = tuple(channel.get("Name") for channel in said.findall("{*}Channel"))
    return OmeImage(image.get("Name") or "", names, None if y is None or x is None else (z, y, x))
