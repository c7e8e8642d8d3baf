"""The shape of the house."""

import subprocess
import sys
from pathlib import Path

import pytest

import addsr_cli

PACKAGE = Path(addsr_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
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


def python(code):
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    ).stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    assert python(f"import sys, addsr_cli; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


@pytest.mark.parametrize("room", ["errors", "imageio", "report", "settings"])
def test_light_rooms_do_without_torch(room):
    assert python(f"import sys, addsr_cli.{room}; print('torch' in sys.modules)") == "False"


LOAD = """
import sys
from addsr_cli.weights import loader
loader.load(loader.locate("nano"), device="cpu", dtype="fp32")
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_loading_the_bundled_model_does_without_torchs_compiler():
    assert python(LOAD) == "False"


def test_the_upscaler_comes_from_the_front_door():
    assert addsr_cli.Upscaler.__module__ == "addsr_cli.engine.upscaler"


def test_the_front_door_has_no_other_names():
    with pytest.raises(AttributeError, match="nonsense"):
        addsr_cli.nonsense  # noqa: B018
    assert all(getattr(addsr_cli, name) for name in addsr_cli.__all__)


def test_no_file_is_called_utils():
    assert not [
        file for file in FILES if file.stem in ("utils", "util", "helpers", "misc", "common")
    ]


def test_only_the_hardware_room_asks_what_the_machine_is():
    asking = ("cuda.is_available", "cuda.mem_get_info", "mps.is_available", "virtual_memory")
    found = {f.name for f in FILES for words in asking if words in f.read_text(encoding="utf-8")}
    assert found == {"hardware.py"}


def test_training_never_imports_the_engine():
    texts = [file.read_text(encoding="utf-8") for file in (PACKAGE / "train").glob("*.py")]
    assert texts
    assert not [text for text in texts if "addsr_cli.engine.upscaler" in text]


def test_the_registry_of_models_does_without_torch():
    code = "import sys, addsr_cli.models.registry; print('torch' in sys.modules)"
    assert python(code) == "False"
