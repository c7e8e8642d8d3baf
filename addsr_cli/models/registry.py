"""The architectures that addsr knows. To add one, import its record and list it here."""

from addsr_cli.errors import UsageError
from addsr_cli.models import nano, seesr, single_pass, stablesr
from addsr_cli.models.architecture import Architecture, ModelSpec, TrainingSetup

BUILT_IN = (
    seesr.ARCHITECTURE,
    stablesr.ARCHITECTURE,
    nano.ARCHITECTURE,
    single_pass.ARCHITECTURE,
)
ARCHITECTURES: dict[str, Architecture] = {}  # by name, which bundles record as ``arch``
BUNDLED: dict[str, ModelSpec] = {}  # models that ship with the package, by name
TRAINING: dict[str, TrainingSetup] = {}  # by the name that ``--arch`` takes
FALLBACK = "nano"  # the bundled model that runs on any machine
SHARPEST = "small"  # the bundled model for small results
SMALL_RESULT = 16_000_000  # pixels; about a minute on two cores


def register(architecture: Architecture) -> None:
    """Make an architecture known. One of the same name is replaced."""
    ARCHITECTURES[architecture.name] = architecture
    BUNDLED.update({spec.name: spec for spec in architecture.bundled})
    TRAINING.update({setup.name: setup for setup in architecture.training})


def bundled_for(pixels: int | None) -> str:
    """Return the bundled model for a result of ``pixels``; None where that is not known."""
    return SHARPEST if pixels is not None and pixels <= SMALL_RESULT else FALLBACK


def architecture_of_file(suffix: str) -> Architecture | None:
    """Return the architecture of other programs' files with this suffix, such as ``.pth``."""
    for architecture in ARCHITECTURES.values():
        if suffix.lower() in architecture.suffixes:
            return architecture
    return None


def training_setup(arch: str) -> TrainingSetup:
    """Return what ``--arch`` names. Raises UsageError for an unknown name."""
    if arch not in TRAINING:
        raise UsageError(f"--arch must be one of {', '.join(TRAINING)}, not {arch}.")
    return TRAINING[arch]


for _architecture in BUILT_IN:
    register(_architecture)
