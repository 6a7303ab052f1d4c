"""What a verb says while it works, for a person at a terminal, for a log file, or for another program."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from napari_vstain.core.errors import VstainError
from napari_vstain.core.jobs import JobStatus
from napari_vstain.core.progress import Report
from napari_vstain.core.wire import Event, Made, Note, Produced, Tabled, WireRecord, encode

Mode = Literal["auto", "bar", "lines", "json", "none"]
MODES = ("auto", "bar", "lines", "json", "none")
_LINE_EVERY_S = 5.0


class Display(Protocol):
    """Who shows a verb's progress. Used from the main thread only."""

    def show(self, status: JobStatus) -> None:
        """Show where the work is now."""

    def item(self, item: object) -> None:
        """Show something that the work handed out."""

    def note(self, text: str) -> None:
        """Say something to the user."""

    def error(self, error: VstainError) -> None:
        """Say what went wrong."""

    def made(self, paths: Mapping[str, Path]) -> None:
        """Say what is where at the end."""

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Show a small table of results."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def display(mode: Mode) -> Display:
    """Return the display for `mode`; ``auto`` is a bar on a terminal and lines elsewhere."""
    if mode == "auto":
        mode = "bar" if sys.stderr.isatty() else "lines"
    kinds = {"bar": Bar, "lines": Lines, "json": JsonLines, "none": Quiet}
    return kinds[mode]()


class Quiet:
    """Shows results and errors, and no progress."""

    def __init__(self) -> None:
        self.out: TextIO = sys.stdout
        self.messages: TextIO = sys.stderr

    def show(self, status: JobStatus) -> None:
        """Show nothing."""

    def item(self, item: object) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Say it on stderr."""
        print(text, file=self.messages, flush=True)

    def error(self, error: VstainError) -> None:
        """Say it in one line on stderr."""
        self.note(f"vstain: {' '.join(str(error).split())}")

    def made(self, paths: Mapping[str, Path]) -> None:
        """Print one aligned line a path, on stdout."""
        width = max((len(name) for name in paths), default=0)
        for name, path in paths.items():
            print(f"{name:<{width}}  {path}", file=self.out)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print aligned columns, on stdout."""
        widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
        print(title, file=self.out)
        for row in (columns, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  " + "  ".join(cells).rstrip(), file=self.out)

    def close(self) -> None:
        """There is nothing to put back."""


class Lines(Quiet):
    """A line when a phase begins and ends, and every five seconds: for logs."""

    def __init__(self) -> None:
        super().__init__()
        self._phase = ""
        self._said_at = 0.0
        self._said = ""

    def show(self, status: JobStatus) -> None:
        """Say where the work is, unless it was said a moment ago."""
        now = time.monotonic()
        news = status.phase != self._phase or (status.total is not None and status.done >= status.total)
        if status.phase and (news or now - self._said_at >= _LINE_EVERY_S):
            line = describe(status)
            if line != self._said:
                self.note(line)
            self._phase, self._said_at, self._said = status.phase, now, line


class JsonLines(Quiet):
    """One line of `wire` an event on stdout, for the program that started this one."""

    def show(self, status: JobStatus) -> None:
        """Write a report."""
        self._write(Report(status.phase, status.done, status.total, status.unit, status.message))

    def item(self, item: object) -> None:
        """Write what JSON can hold of a record, such as the losses of an epoch."""
        if (record := WireRecord.of(item)) is not None:
            self._write(Produced(record))

    def note(self, text: str) -> None:
        """Write a note."""
        self._write(Note(text))

    def error(self, error: VstainError) -> None:
        """Write the error with its four parts."""
        self._write(error)

    def made(self, paths: Mapping[str, Path]) -> None:
        """Write the paths."""
        self._write(Made({name: str(path) for name, path in paths.items()}))

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Write the table."""
        self._write(Tabled(title, columns, rows))

    def _write(self, event: Event) -> None:
        print(encode(event), file=self.out, flush=True)


class Bar(Quiet):
    """A bar with rate and time left for each phase, and tables."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=self._console,
            refresh_per_second=8,
        )
        self._task: Any = None
        self._phase = ""

    def show(self, status: JobStatus) -> None:
        """Move the bar of this phase; a new phase gets a new bar under the finished one."""
        if not status.phase:
            return
        if status.phase != self._phase:
            self._end_phase()
            self._bars.start()
            self._task = self._bars.add_task(status.phase, total=status.total, figures="")
            self._phase = status.phase
        self._bars.update(self._task, completed=status.done, total=status.total, figures=figures(status))

    def note(self, text: str) -> None:
        """Say it above the bar."""
        self._console.print(text, markup=False, highlight=False)

    def made(self, paths: Mapping[str, Path]) -> None:
        """Show a table of the paths."""
        self.table("", ["made", "where"], [[name, str(path)] for name, path in paths.items()])

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Show a table, its long cells folded and never cut."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console(file=self.out).print(table)

    def close(self) -> None:
        """Stop drawing, and give the cursor back."""
        self._end_phase()
        self._bars.stop()

    def _end_phase(self) -> None:
        if self._task is not None:
            self._bars.stop_task(self._task)
        self._task, self._phase = None, ""


def describe(status: JobStatus) -> str:
    """Return one line: the phase, then how far, how fast and how long it still takes."""
    numbers = figures(status)
    return f"{status.phase}: {numbers}" if numbers else status.phase


def figures(status: JobStatus) -> str:
    """Return ``12/40 tiles, 3.1 tiles/s, 9 s left, <message>``, as far as it is known."""
    of = "" if status.total is None else f"/{_number(status.total)}"
    finished = status.total is not None and status.done >= status.total
    parts = [f"{_number(status.done)}{of} {status.unit}".strip() if status.done or of else ""]
    if status.rate and status.unit:
        parts.append(f"{_rate(status.rate)} {status.unit}/s")
    if status.eta_s is not None and not finished:
        parts.append(f"{duration(status.eta_s)} left")
    return ", ".join(part for part in (*parts, status.message) if part)


def counted(number: int, thing: str) -> str:
    """Return ``1 position``, ``2 positions``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def duration(seconds: float) -> str:
    """Return a length of time as people say it: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _number(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() or value >= 100 else f"{value:.1f}"


def _rate(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
