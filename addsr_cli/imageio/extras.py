"""Libraries for formats that Pillow cannot read, and how to install those that are optional."""

from dataclasses import dataclass
from importlib.util import find_spec

from addsr_cli.errors import UnreadableInput


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A library that reads one kind of file; ``install`` is the command that installs it."""

    title: str
    library: str
    install: str
    otherwise: str
    suffixes: frozenset[str]

    @property
    def installed(self) -> bool:
        """Whether the library can be imported."""
        return find_spec(self.library) is not None

    def require(self, name: str) -> None:
        """Raise UnreadableInput when the library is missing; ``name`` begins the message."""
        if not self.installed:
            raise UnreadableInput(
                f"{name} is a {self.title} file, and {self.library}, which reads them, is not "
                "installed.",
                f"Run {self.install}, or {self.otherwise}",
            )


_CONVERT = "convert the file to JPEG or PNG first."
HEIF = Extra(
    title="HEIC/HEIF",
    library="pillow_heif",
    install="pip install pillow-heif",
    otherwise=_CONVERT,
    suffixes=frozenset({".heic", ".heif", ".hif", ".heics", ".heifs", ".avci"}),
)
RAW = Extra(
    title="camera raw",
    library="rawpy",
    install="pip install 'addsr[raw]'",
    otherwise="develop the file to TIFF, PNG or JPEG first.",
    suffixes=frozenset(
        """
        .3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mef .mos .mrw .nef .nrw
        .orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f
        """.split()  # noqa: SIM905 (a list of literals would be four times as long)
    ),
)
JXL = Extra(
    title="JPEG XL",
    library="pyjpegxl",
    install="pip install 'addsr[jxl]'",
    otherwise=_CONVERT,
    suffixes=frozenset({".jxl"}),
)
EXTRAS = (HEIF, RAW, JXL)
