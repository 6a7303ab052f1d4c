"""`vstain VERB …`: finds the verb, runs it, and turns whatever happens into one sentence and an exit code."""

import argparse
import difflib
import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from napari_vstain.core.process_tweaks import quiet_for_good

if TYPE_CHECKING:
    from napari_vstain.cli.verb import Verb

OK, FAILED, USAGE, STOPPED = 0, 1, 2, 130
"""Exit codes: done; an error that was said; a command that makes no sense; stopped by Ctrl-C."""

VERBS = {
    "demo": ("demo", "show the whole work on a simulated plate, in about two minutes"),
    "new": ("new", "make a workspace: the folder that holds everything below"),
    "import": ("import_images", "turn image files into a plate (OME-Zarr), or register one you have"),
    "preprocess": ("preprocess", "measure the intensities of each channel"),
    "train": ("train", "teach a network to predict stains from label-free images"),
    "predict": ("predict", "stain images with a trained model"),
    "evaluate": ("evaluate", "compare predictions with the real stain: metrics.csv"),
    "export": ("export", "write the model as ONNX, to use anywhere"),
    "gui": ("gui", "open napari with the Virtual Staining dock"),
}
"""Each verb's module in this package, and what it does in a few words."""

_DESCRIPTION = """\
Predict fluorescence stains (nuclei, membrane, …) from label-free images (phase, DIC, bright field).

The usual order:  new → import → preprocess → train → predict → evaluate → export
"""
_EPILOG = """\
Examples:
  vstain demo                                       see everything once, on simulated cells
  vstain new my-study && cd my-study                start; later commands find the workspace by themselves
  vstain import ~/images --name cells --pattern '{position}_{channel}.tif'
  vstain preprocess cells
  vstain train cells --experiment first --sources phase --targets nuclei
  vstain predict cells --experiment first
  vstain evaluate first
  vstain export first

`vstain VERB --help` explains a verb. Each verb saves its settings beside its result;
`vstain VERB -c that-file.yml` does the same again.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; `argv` is without the program's name.

    Called with no `argv`, as the installed program is, it also silences the chatter of third parties.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if argv is None and "--debug" not in arguments:
        _quieten()
    try:
        return _dispatch(list(arguments))
    except SystemExit as exit_:  # argparse ends --help and usage errors this way
        return exit_.code if isinstance(exit_.code, int) else USAGE
    except KeyboardInterrupt:
        return STOPPED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in VERBS:
        return _general(arguments)
    verb: Verb = import_module(f"napari_vstain.cli.{VERBS[arguments[0]][0]}").VERB
    parser = verb.parser(f"vstain {arguments[0]}")
    given = parser.parse_args(arguments[1:])
    return _run(verb, given, parser)


def _general(arguments: list[str]) -> int:
    from napari_vstain import __version__

    verbs = "".join(f"  {name:<12}{text}\n" for name, (_, text) in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="vstain",
        usage="vstain VERB [settings]",
        description=f"{_DESCRIPTION}\nVerbs:\n{verbs}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vstain {__version__}")
    if arguments and not arguments[0].startswith("-"):
        near = difflib.get_close_matches(arguments[0], VERBS, n=1)
        hint = f"did you mean `vstain {near[0]}`?" if near else f"use one of {', '.join(VERBS)}"
        parser.error(f"'{arguments[0]}' is no verb; {hint}")
    parser.parse_args(arguments)
    parser.print_help()
    return OK if arguments else USAGE


def _run(verb: "Verb", given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from napari_vstain.cli.terminal import display
    from napari_vstain.core.progress import Cancelled
    from napari_vstain.core.sentences import as_sentence

    screen = display(given.progress)
    try:
        verb.run(given, screen, parser)
    except Cancelled as cancelled:
        screen.close()
        verb.stopped(given, cancelled.kept, screen)
        return STOPPED
    except Exception as error:  # the program's edge: nobody should have to read a traceback
        screen.close()
        if given.debug:
            raise
        screen.error(as_sentence(error))
        return FAILED
    finally:
        screen.close()
    return OK


def _quieten() -> None:
    """Keep the chatter of third parties off the terminal, and show what we log ourselves."""
    quiet_for_good()
    logging.getLogger().addHandler(logging.NullHandler())  # else Python prints what has no handler: tifffile's lines
    ours, said = logging.getLogger(__name__.split(".")[0]), logging.StreamHandler()
    said.setLevel(logging.WARNING)
    said.setFormatter(logging.Formatter("%(message)s"))
    ours.addHandler(said)
