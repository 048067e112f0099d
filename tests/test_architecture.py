"""The house: CONTRIBUTING's map lists its files, its arrows say which may import which."""

import ast
import graphlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ignite_lrfinder"
WINGS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
ARROWS, MAP = re.findall(r"^```text\n(.*?)^```$", CONTRIBUTING, re.DOTALL | re.MULTILINE)


class Import(NamedTuple):
    """An import of a module, or of a name from it."""

    module: str
    name: str
    is_immediate: bool
    """Whether it is executed when the file is imported."""

    @property
    def target(self) -> str:
        """The module that is imported, which may be what the name refers to."""
        inner = f"{self.module}.{self.name}"
        return inner if inner in MODULES else self.module


def imports_of(node: ast.AST, *, is_immediate: bool = True) -> Iterator[Import]:
    """Yield the imports of a file, also those in functions and for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, "", is_immediate) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.module is not None, "a relative import"
            assert child.level == 0, "a relative import"
            yield from (Import(child.module, alias.name, is_immediate) for alias in child.names)
        else:
            is_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            is_typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from imports_of(child, is_immediate=is_immediate and not is_later | is_typing)


IMPORTS = {
    module: list(imports_of(ast.parse(path.read_text("utf-8")))) for module, path in MODULES.items()
}
GRAPH = {
    module: {each.target for each in imports if each.target in MODULES}
    for module, imports in IMPORTS.items()
}


def room_of(module: str) -> str:
    """Return the wing of a module, or the file outside all wings; "" for other packages."""
    package, _, rest = module.partition(".")
    return rest.split(".")[0] if package == PACKAGE.name else ""


def rooms_below() -> dict[str, set[str]]:
    """Return what each room may import: all that arrows lead to, directly or not."""
    direct: dict[str, set[str]] = {}
    for line in ARROWS.splitlines():
        steps = [re.findall(r"\w+", step) for step in line.split("<-")]
        for lower, upper in itertools.pairwise(steps):
            for room in (*lower, *upper):
                direct.setdefault(room, set())
            for room in upper:
                direct[room] |= set(lower)
    below: dict[str, set[str]] = {}
    for room in graphlib.TopologicalSorter(direct).static_order():
        below[room] = direct[room].union(*(below[other] for other in direct[room]))
    return below


def files_on_the_map() -> set[str]:
    """Return the files of the map: one a line, or after a wing the names of its files."""
    files, wing = set(), ""
    for line in MAP.splitlines()[1:]:
        if match := re.match(r"  (\w+)/ ", line):
            wing = match[1]
        elif match := re.match(r"  (\w+\.py) ", line):
            files.add(match[1])
        else:
            files |= {f"{wing}/{name}.py" for name in re.findall(r"\w+", line)}
    return files


def test_the_map_lists_every_file() -> None:
    """The map of CONTRIBUTING.md and the folder have the same files, faces of wings aside."""
    faces = {f"{wing}/__init__.py" for wing in WINGS}
    paths = {path.relative_to(PACKAGE).as_posix() for path in MODULES.values()}
    assert files_on_the_map() == paths - faces


def test_the_files_that_contributing_names_exist() -> None:
    """Each is in the package, in the tests, or below the root."""
    names = set(re.findall(r"`([\w/]+\.py)`", CONTRIBUTING))
    assert len(names) > 10
    known = [path.as_posix() for folder in (PACKAGE, ROOT / "tests") for path in folder.rglob("*")]
    assert [name for name in names if not any(path.endswith(f"/{name}") for path in known)] == []


def test_the_arrows_name_every_room() -> None:
    """Each wing, and each file outside the wings, has its place in the order of imports."""
    assert set(rooms_below()) == {room_of(module) for module in MODULES} - {""}


def test_imports_point_downwards() -> None:
    """A file imports from its own room and from the rooms below, and not from the package."""
    below = rooms_below()
    upwards = [
        (module, target)
        for module, targets in GRAPH.items()
        for target in targets
        if module != PACKAGE.name
        and room_of(target) not in below[room_of(module)] | {room_of(module)}
    ]
    assert upwards == []


def test_a_wing_is_imported_through_its_face() -> None:
    """Outside a wing only the names in the `__all__` of its face are imported."""
    past_the_face = [
        (module, each.module, each.name)
        for module, imports in IMPORTS.items()
        for each in imports
        if room_of(each.module) in WINGS - {room_of(module)}
        and (
            each.module != f"{PACKAGE.name}.{room_of(each.module)}"
            or each.name not in public_names(each.module)
        )
    ]
    assert past_the_face == []


def public_names(wing: str) -> list[str]:
    """Return the `__all__` of a wing."""
    tree = ast.parse(MODULES[wing].read_text("utf-8"))
    (value,) = (
        statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
    )
    return ast.literal_eval(value)


def test_no_imports_form_a_cycle() -> None:
    """Files can be sorted so that each imports only files before it."""
    graphlib.TopologicalSorter(GRAPH).prepare()


def test_record_and_suggest_know_neither_torch_nor_ignite() -> None:
    """They import none of the large libraries, and nothing that does."""
    todo = [module for module in MODULES if room_of(module) in ("record", "suggest")]
    seen = set(todo)
    while todo:
        new = GRAPH[todo.pop()] - seen
        seen |= new
        todo += new
    libraries = {each.module.split(".")[0] for module in seen for each in IMPORTS[module]}
    assert not libraries & {"torch", "ignite", "matplotlib"}


def test_matplotlib_is_imported_when_a_plot_is_asked_for() -> None:
    """No file imports it immediately, only inside functions and for type checkers."""
    immediate = {
        (module, each.module)
        for module, imports in IMPORTS.items()
        for each in imports
        if each.is_immediate and each.module.split(".")[0] == "matplotlib"
    }
    assert immediate == set()
