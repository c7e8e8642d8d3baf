"""The shape of the package: what imports load, how large files and functions are, and names."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

import addsr_cli

PACKAGE = Path(addsr_cli.__file__).parent
ROOT = PACKAGE.parent
SOURCES = {path.relative_to(ROOT).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
HEAVY = (
    "torch",
    "numpy",
    "cv2",
    "PIL",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "typer",
    "rich",
)
LINE_LENGTH = 100
FILE_LINES = 400
FUNCTION_LINES = 60
LONG_FUNCTIONS = {"addsr_cli/cli/batch.py:batch"}  # declarations of options

# Words of an earlier, private vocabulary, and verbs in the place of nouns; see CONTRIBUTING.md.
OLD_WORDS = {
    *("adversary", "agenda", "ahead", "alter", "anchors", "around", "blank", "byhand", "cards"),
    *("checkup", "eye", "fleet", "found", "framing", "gauge", "given", "guide", "held", "hole"),
    *("imitation", "judge", "kept", "learner", "lost", "made", "maker", "onwards", "renoise"),
    *("stamp", "survey", "taken", "things", "told", "trunk", "updater", "usual", "wish"),
}
STANDARD_TERMS = ("held_out", "maker_note")  # that contain one of these words
OLD_DEFINITIONS = {"Keep", "Order", "Words", "look", "multiply_rate", "settle"}
OLD_MODULES = {"common", "helpers", "library", "misc", "pairs", "parts", "store", "util", "utils"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def syntax_trees() -> dict[str, ast.Module]:
    """Return the parsed modules. Not at import: every process imports all tests."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def python(code: str) -> str:
    """Return what a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return result.stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, addsr_cli; print([name for name in {HEAVY} if name in sys.modules])"
    assert python(code) == "[]"


@pytest.mark.parametrize("room", ["errors", "imageio", "models.registry", "report", "settings"])
def test_light_rooms_do_not_import_torch(room):
    assert python(f"import sys, addsr_cli.{room}; print('torch' in sys.modules)") == "False"


UPSCALE = """
import sys
from addsr_cli.__main__ import main
try:
    main()
except SystemExit as exc:
    print(exc.code, sorted({name for name in sys.modules if name in %s}))
"""
# Packages and parts of torch that take long to import and that nano does not need
NOT_FOR_NANO = {
    *("accelerate", "diffusers", "huggingface_hub", "pandas", "safetensors.numpy", "scipy"),
    *("spandrel", "starlette", "sympy", "torch._dynamo", "torch._inductor", "torchvision"),
    *("torch.fx.experimental.symbolic_shapes", "torch.utils.flop_counter", "transformers"),
}


@pytest.mark.slow
def test_upscaling_with_nano_imports_nothing_heavy_besides_torch(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.png")
    options = ["upscale", "photo.png", "--model", "nano", "--steps", "1", "--quiet"]
    result = subprocess.run(
        [sys.executable, "-c", UPSCALE % NOT_FOR_NANO, *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == ["photo_x4.png", "0 []"]


def test_the_package_exports_the_upscaler():
    assert addsr_cli.Upscaler.__module__ == "addsr_cli.engine.upscaler"
    assert all(getattr(addsr_cli, name) for name in addsr_cli.__all__)


def test_an_unknown_export_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        addsr_cli.nonsense  # noqa: B018


def test_only_the_hardware_module_queries_the_machine():
    queries = ("cuda.is_available", "cuda.mem_get_info", "mps.is_available", "virtual_memory")
    modules = set()
    for name, path in SOURCES.items():
        text = path.read_text(encoding="utf-8")
        if any(query in text for query in queries):
            modules.add(name)
    assert modules == {"addsr_cli/hardware.py"}


def test_the_line_width_is_checked_by_ruff():
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    assert ruff["line-length"] == LINE_LENGTH
    assert "E" in ruff["lint"]["select"]
    assert not [rule for rule in ruff["lint"]["ignore"] if "E501".startswith(rule)]


def test_files_are_at_most_400_lines_long():
    lengths = {name: len(path.read_bytes().splitlines()) for name, path in SOURCES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_fit_a_screen():
    long = set()
    for name, tree in syntax_trees().items():
        for node in ast.walk(tree):
            if isinstance(node, Function) and node.end_lineno - node.lineno >= FUNCTION_LINES:
                long.add(f"{name}:{node.name}")
    assert long == LONG_FUNCTIONS


def test_names_are_standard_terms():
    refused = set()
    for name, tree in syntax_trees().items():
        module = Path(name).stem
        if module in OLD_MODULES or OLD_WORDS & words(module):
            refused.add(name)
        for node in ast.walk(tree):
            is_option = isinstance(node, ast.arg)  # options are named after their flags
            for identifier in defined_names(node):
                is_old = identifier in OLD_DEFINITIONS and not is_option
                if is_old or OLD_WORDS & words(identifier):
                    refused.add(f"{name}: {identifier}")
    assert sorted(refused) == []


def test_public_classes_have_names_of_their_own():
    modules = defaultdict(list)
    for name, tree in syntax_trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(name)
    assert {name: places for name, places in modules.items() if len(places) > 1} == {}


def defined_names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node defines: classes, functions, arguments, variables, attributes."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.arg(arg=name) | ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
            yield name
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name


def words(identifier: str) -> set[str]:
    """Return the words of an identifier in lower case: ``_lastFound_at`` -> last, found, at."""
    snake_case = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", identifier).lower()
    for term in STANDARD_TERMS:
        snake_case = snake_case.replace(term, "")
    return set(snake_case.split("_"))
