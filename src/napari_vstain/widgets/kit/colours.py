"""Colours that can be read: mixed from the window's theme until a text stands out from its ground. No Qt here."""

from typing import NamedTuple

LEAST = 4.5
"""Contrast of a text to what is behind it, at least: level AA of WCAG 2.1 for text of ordinary size."""
_STEPS = 50


class Colour(NamedTuple):
    """Red, green and blue, 0 to 255."""

    red: int
    green: int
    blue: int

    @classmethod
    def of(cls, name: str) -> "Colour":
        """Return the colour that ``#rrggbb`` names."""
        return cls(*bytes.fromhex(name.removeprefix("#")))

    @property
    def luminance(self) -> float:
        """Relative luminance of WCAG 2.1, 0 for black, 1 for white."""
        linear = [
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            for value in (part / 255 for part in self)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def mixed(self, other: "Colour", share: float) -> "Colour":
        """Return this colour with a share of another in it."""
        return Colour(*(round(a + (b - a) * share) for a, b in zip(self, other, strict=True)))

    def __str__(self) -> str:
        return f"#{self.red:02x}{self.green:02x}{self.blue:02x}"


BLACK, WHITE = Colour(0, 0, 0), Colour(255, 255, 255)


def contrast(a: Colour, b: Colour) -> float:
    """Return the contrast ratio of WCAG 2.1, 1 to 21."""
    dark, light = sorted((a.luminance, b.luminance))
    return (light + 0.05) / (dark + 0.05)


def readable(text: Colour, behind: Colour, least: float = LEAST) -> Colour:
    """Return the colour nearest to `text`, on its way to black or to white, that can be read on `behind`."""
    for step in range(_STEPS + 1):
        for end in (WHITE, BLACK):
            candidate = text.mixed(end, step / _STEPS)
            if contrast(candidate, behind) >= least:
                return candidate
    return max(BLACK, WHITE, key=lambda end: contrast(end, behind))


class Theme(NamedTuple):
    """What the docks take from the window's theme; see `compat.theme_of`."""

    background: Colour
    """Behind everything."""
    raised: Colour
    """Buttons and editors."""
    text: Colour


DARK = Theme(Colour(35, 36, 43), Colour(66, 74, 84), Colour(240, 241, 242))
