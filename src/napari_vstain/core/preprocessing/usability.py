"""Whether a position's channel can be normalized is decided here, and if not, the reason is said."""

from napari_vstain.core.data import Position
from napari_vstain.core.errors import NormalizationError
from napari_vstain.core.models import Normalization, Statistics
from napari_vstain.core.preprocessing.statistics import Level, statistics_of


def unusable(position: Position, channel: str, normalization: Normalization = Normalization(), t: int = 0) -> str:  # noqa: B008 - frozen
    """Return why a position's channel cannot be normalized, or nothing when it can.

    The reason is the end of a sentence that begins with the position, as `LeftOut` takes it: ``is empty in Phase``.
    An image that is empty or constant cannot be used at any level; by the numbers of a whole dataset anything else can.

    Parameters
    ----------
    t : int
        The time point, for level ``timepoint``.

    Raises
    ------
    DatasetError
        When pixels cannot be read.
    """
    if channel not in position.channels:
        return f"has no {channel}"
    try:
        usable_statistics(position, channel, normalization, t)
    except NormalizationError as error:
        return f"{error.rule} in {channel}"
    return ""


def usable_statistics(position: Position, channel: str, normalization: Normalization, t: int = 0) -> Statistics:
    """Return the position's own statistics, of the time point for level ``timepoint``, else of all times.

    Raises
    ------
    ChannelError
        When the channel is missing.
    NormalizationError
        When the image cannot be normalized; the rule, followed by "in <channel>", says why of the position.
    """
    level: Level = "timepoint" if normalization.level == "timepoint" else "fov"
    statistics = statistics_of(position, channel, level, t)
    problem = "" if normalization.level == "dataset" else normalization.problem(statistics)
    if problem:
        raise NormalizationError("channel", channel, problem, f"leave position {position.key} out")
    return statistics
