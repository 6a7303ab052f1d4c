"""The house is one that a newcomer can read: no import circle, and one meaning a name."""

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import napari_vstain

ROOT = Path(napari_vstain.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ALIKE = {"run"}
"""Stages are alike: each has a `stage` with a `run`, and `settings`."""


def module_of(file):
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def imports_of(tree):
    """Yield the modules that a file imports at any depth, but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                submodule = f"{node.module}.{name.name}"
                yield submodule if submodule in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        yield from imports_of(node)


def test_no_file_imports_itself_through_others_not_even_inside_a_function():
    graph = {name: {other for other in imports_of(tree) if other in MODULES} - {name} for name, tree in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        raise AssertionError(" -> ".join(circle.args[1])) from None


def public_names(tree):
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_no_two_public_things_of_the_core_have_one_name():
    places = defaultdict(set)
    for module, tree in MODULES.items():
        if module.startswith("napari_vstain.core"):
            for name in public_names(tree):
                if not name.startswith("_") and len(name) > 1:  # a letter is a type variable
                    places[name].add(module)
    assert {name: sorted(found) for name, found in places.items() if len(found) > 1 and name not in ALIKE} == {}


def test_no_two_files_of_the_core_have_one_stem():
    places = defaultdict(list)
    for file in FILES:
        if "core" in file.parts and file.stem != "__init__":
            places[file.stem].append(file.relative_to(ROOT).as_posix())
    alike = {"stage", "settings"}
    assert {stem: found for stem, found in places.items() if len(found) > 1 and stem not in alike} == {}
