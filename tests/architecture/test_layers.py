"""Which file imports which: downward only, no cycles, nothing from the package root, no private doors."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "shipper"

#: Layer by layer, what may be imported from it by what stands higher. `registry` imports nothing of ours before it is
#: asked, so who needs a component by name may ask it; `plan` and `problem` are plain data.
LAYERS = [
    ["errors", "units", "clock", "digest", "digest_word", "checksums", "file_lock", "log", "log_pipe", "likely",
     "whole_file"],
    ["batch", "shared", "ring", "durable", "metrics", "config.field", "config.plan", "config.problem", "config.nested",
     "registry"],
    ["contracts", "files", "api"],
    ["implementations"],
    ["pipeline"],
    ["config"],
    ["instance"],
    ["workers"],
    ["supervisor"],
    ["cli", "testing"],
]  # fmt: skip
CONTRACTS = {
    "sources.source", "sinks.sink", "interceptors.interceptor", "selectors.selector", "serializers.serializer",
    "processors.processor", "channels.channel", "sources.deserializers.deserializer",
}  # fmt: skip
FAMILIES = ("sources", "sinks", "interceptors", "selectors", "serializers", "processors", "channels")
#: What implementations may import beside `shipper.api` and their own folder.
TOOLKITS = (
    "files", "batch.framing", "batch.kernels", "batch.line_scan", "batch.schema", "serializers.serializer", "registry",
    "config.field", "config.nested", "file_lock", "whole_file",
)  # fmt: skip


def name_of(path: Path) -> str:
    """`batch.wire` for `shipper/batch/wire.py`; `batch` for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def modules() -> dict[str, Path]:
    """All modules of the product."""
    return {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if name_of(path)}


def imports_in(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports below a node that are carried out when the program runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if not inside_functions and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield from imports_in(child, inside_functions=inside_functions)


def imported_by(name: str, *, inside_functions: bool = True) -> set[str]:
    """The modules of ours that a module imports; "" is the package root."""
    found = set()
    for node in imports_in(ast.parse(modules()[name].read_text()), inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "shipper"]
            found.update(one.partition(".")[2] for one in names)
        elif node.level:
            raise AssertionError(f"{name}: relative import; say shipper.{name}")
        elif node.module and node.module.split(".")[0] == "shipper":
            base = node.module.partition(".")[2]
            for alias in node.names:
                whole = f"{base}.{alias.name}".lstrip(".")
                found.add(whole if whole in modules() else base)
    return found


def layer_of(name: str) -> int:
    """Number of the layer that a module stands in."""
    kind = name
    if name in CONTRACTS:
        kind = "contracts"
    elif name.split(".")[0] in FAMILIES:
        kind = "implementations"
    for number, names in enumerate(LAYERS):
        if any(kind == one or kind.startswith(f"{one}.") for one in names if "." in one):
            return number
    for number, names in enumerate(LAYERS):
        if kind.split(".")[0] in names:
            return number
    raise AssertionError(f"{name} stands in no layer: say in LAYERS where it belongs")


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_downward_only(name: str) -> None:
    wrong = {other for other in imported_by(name) if other and layer_of(other) > layer_of(name)}
    assert not wrong, f"{name} (layer {layer_of(name)}) imports what stands above it: {sorted(wrong)}"


@pytest.mark.parametrize("name", modules())
def test_no_module_imports_the_package_root(name: str) -> None:
    if name == "cli.version":
        pytest.skip("the version is the one thing that the root has")
    assert "" not in imported_by(name), f"{name}: import the module that you mean"


def test_there_is_no_cycle() -> None:
    """Also not through an import inside a function: that hides a cycle, and does not break it."""
    graph = {name: imported_by(name) & modules().keys() for name in modules()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            raise AssertionError("cycle: " + " -> ".join([*way[way.index(name) :], name]))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    "name", [name for name in modules() if name.split(".")[0] in FAMILIES and name not in CONTRACTS]
)
def test_a_built_in_component_uses_the_door_of_plugins(name: str) -> None:
    """`shipper.api`, its own folder and the toolkits; only channels know rings and batches."""
    family = name.split(".")[0]
    if family == "channels":
        allowed = (*TOOLKITS, "channels", "batch", "ring", "durable", "shared", "checksums", "errors", "api")
    else:
        allowed = (*TOOLKITS, family, "api")
    wrong = {o for o in imported_by(name) if not any(o == one or o.startswith(f"{one}.") for one in allowed)}
    assert not wrong, f"{name}: {sorted(wrong)}"


def test_ring_and_batch_meet_in_channels_only() -> None:
    for name in modules():
        found = {other.split(".")[0] for other in imported_by(name)} & {"ring", "batch"}
        if len(found) == 2:
            assert name.split(".")[0] in ("channels", "instance", "workers", "supervisor"), name
        if name.split(".")[0] in ("ring", "shared"):
            assert "batch" not in found, name


def test_nobody_imports_the_command_line_or_the_tests_helpers() -> None:
    for name in modules():
        found = {other.split(".")[0] for other in imported_by(name)}
        if name.split(".")[0] not in ("cli", "testing"):
            assert not found & {"cli", "testing"}, name
        if name.split(".")[0] == "cli":
            assert "testing" not in found, name


def test_what_the_supervisor_imports_is_small() -> None:
    """No Arrow and no numpy: they would cost 40 MB in a process that touches no data."""
    import subprocess
    import sys

    script = "import sys, shipper.supervisor.supervisor, shipper.cli.run; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    heavy = {"pyarrow", "numpy", "uvloop", "typer", "asyncio", "multiprocessing", "hashlib", "ssl"}
    assert not heavy & set(found.split())


@pytest.mark.parametrize("name", modules())
def test_a_file_is_one_noun_and_not_too_long(name: str) -> None:
    path = modules()[name]
    text = path.read_text()
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert docstring, f"{path} does not say what it is"
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":", "?")), f"{path}: its first sentence has no end"
    lines = text.count("\n")
    assert lines <= 300 or re.search(r"\blong because\b", docstring), (
        f"{path} has {lines} lines: split it, or say in its docstring 'The file is long because ...'"
    )


def test_a_family_folder_says_what_it_is_and_no_more() -> None:
    for family in FAMILIES:
        tree = ast.parse((PACKAGE / family / "__init__.py").read_text())
        assert len(tree.body) == 1 and ast.get_docstring(tree), family


def test_all_shared_words_are_stored_in_one_file() -> None:
    """The order of stores is an assumption about the machine: it lives in `shared/words.py` alone."""
    for name, path in modules().items():
        if name.split(".")[0] in ("ring", "channels", "pipeline", "instance", "workers", "supervisor"):
            assert '.cast("Q")' not in path.read_text(), name
            assert "pack_into" not in path.read_text().replace("unpack_from", ""), name


def test_nothing_of_multiprocessing_is_used() -> None:
    """Its locks, queues and shared memory do not survive SIGKILL."""
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            found = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [node.module or ""]
            assert not any(one.split(".")[0] in ("multiprocessing", "pickle") for one in found), name
