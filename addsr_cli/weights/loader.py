"""From a model's name to its network in memory."""

import json
import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.files import sha256_of
from addsr_cli.models.architecture import (
    Architecture,
    LoadOptions,
    ModelSpec,
    Network,
    SharedDecoder,
)
from addsr_cli.models.bundle import RECORD, Bundle
from addsr_cli.models.registry import (
    ARCHITECTURES,
    BUNDLED,
    FALLBACK,
    SMALL_RESULT,
    architecture_of_file,
    bundled_for,
)
from addsr_cli.weights import installed
from addsr_cli.weights.components import MODEL_COMPONENTS

if TYPE_CHECKING:
    from addsr_cli.models.restorer import Restorer

ASSETS = Path(__file__).parent / "assets"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MODEL_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")  # NAME or ORG/REPO


@dataclass(frozen=True, kw_only=True)
class Located:
    """A model on this machine, and why it was chosen.

    ``file`` is a bundle's record, or the weights of a model that consists of one network; with
    ``random`` there is none, and the weights are random numbers. ``decoder`` is the folder of a
    bundle that lends its decoder.
    """

    spec: ModelSpec
    file: Path
    reason: str
    random: bool = False
    decoder: Path | None = None

    @property
    def architecture(self) -> Architecture:
        """The record of its architecture."""
        return ARCHITECTURES[self.spec.arch]

    def digest(self) -> str:
        """Return the sha256 of the weights, hexadecimal; "" for random ones.

        That of a bundle is computed from the digests in its record; those of a borrowed decoder's
        files enter too, whichever model lends it.
        """
        if self.random:
            return ""
        if self.decoder:
            own = replace(self, decoder=None).digest()
            return sha256(json.dumps([own, *_decoder_files(self.decoder)]).encode()).hexdigest()
        if self.file.name == RECORD:
            return Bundle.read(self.file.parent).digest
        return sha256_of(self.file)


def locate(name: str, pixels: int | None = None) -> Located:
    """Find the model that ``--model`` names: ``auto``, a name, a folder, or a file of weights.

    NAME+DECODER is the model NAME ``with_decoder``, as results name it. ``auto`` is the bundled
    model for a result of ``pixels``, the fast one where that is not known. Raises ModelUnavailable
    when there is no such model on this machine.
    """
    base, plus, decoder = name.rpartition("+")
    if plus and decoder in _decoders() and not Path(name).exists():
        return with_decoder(locate(base), decoder)
    if name == "auto":
        return _bundled(bundled_for(pixels), _reason(pixels))
    if name in BUNDLED:
        return _bundled(name, "requested by name")
    folder = installed.find_installed(name) if MODEL_NAME.fullmatch(name) else None
    if folder:
        return _in(folder, f"installed in {folder}")
    if name in MODEL_COMPONENTS:
        raise ModelUnavailable(
            f"The model {name} is not installed.",
            f"Run addsr models pull {name}, or use --model {FALLBACK}.",
        )
    folder = at(Path(name))
    if folder:
        return _in(folder, f"from {folder}")
    if Path(name).is_file():
        return _file(Path(name))
    if architecture_of_file(Path(name).suffix):
        raise ModelUnavailable(f"There is no file {name}.", "Check the path.")
    if Path(name).is_dir():
        files = [each.single_file for each in ARCHITECTURES.values() if each.one_network]
        raise ModelUnavailable(
            f"{name} holds no model ({' or '.join([*files, RECORD])}).",
            "Give the folder of a training run or of a bundle.",
        )
    raise ModelUnavailable(f"There is no model called {name!r}.", _suggestion(name))


def at(folder: Path) -> Path | None:
    """Return where a model lies in a folder: in itself or, of a training run, in its ``export``.

    Returns None when neither holds a model.
    """
    for place in (folder, folder / "export"):
        if (place / RECORD).is_file() or _single_file(place):
            return place
    return None


def random_weights() -> Located:
    """Return the full model with random numbers for weights, to measure speed and memory."""
    spec = next(each.random_spec for each in ARCHITECTURES.values() if each.random_spec)
    return Located(
        spec=spec,
        file=Path("random"),
        reason="random weights of the full model",
        random=True,
    )


def load(
    located: Located,
    *,
    device: str,
    dtype: str,
    compiled: bool = False,
) -> Network:
    """Bring the weights into memory on ``device`` as ``fp32``, ``bf16`` or ``fp16``.

    Raises ModelUnavailable when they are damaged.
    """
    options = LoadOptions(
        device=device,
        dtype=DTYPES[dtype],
        compiled=compiled,
    )
    architecture = located.architecture
    if located.random and architecture.random:
        return architecture.random(options)
    network = architecture.load(located.file, options)
    shared = _decoder_of(located.decoder) if located.decoder else None
    if located.decoder and shared:
        shared.attach(cast("Restorer", network), located.decoder, options)
    return network


def with_decoder(located: Located, name: str) -> Located:
    """Return the model with the decoder that ``--decoder`` names, "own" for its own.

    Raises UsageError where the latents are not those that it decodes, ModelUnavailable where no
    installed model has such a decoder.
    """
    own = located.architecture.decoder
    if name == "own" or located.decoder or (own and own.name == name):
        return located
    shared = _decoders()[name]
    if located.spec.latents != shared.latents or located.random:
        raise UsageError(
            f"--decoder {name} does not fit {located.spec.name}: it decodes latents of "
            f"{shared.latents}.",
            "Leave it out, or take addsr or seesr.",
        )
    for folder in installed.list_installed().values():
        if _decoder_of(folder) is shared:
            return replace(located, decoder=folder, spec=_spec_with(located.spec, shared))
    raise ModelUnavailable(
        f"No installed model has the decoder {name}.", "Run addsr models pull stablesr-turbo."
    )


def _spec_with(spec: ModelSpec, decoder: SharedDecoder) -> ModelSpec:
    """Describe a model with another model's decoder."""
    footprint = replace(
        spec.footprint,
        parameters=spec.footprint.parameters + decoder.parameters,
        flop=spec.footprint.flop + decoder.flop,  # with PSR every step decodes
    )
    return replace(
        spec,
        name=f"{spec.name}+{decoder.name}",
        footprint=footprint,
        dials_decoder=True,
        official_tiles=None,  # the program that they are of has no such decoder
    )


def _decoders() -> dict[str, SharedDecoder]:
    """Return all decoders that bundles lend, by name."""
    decoders = (each.decoder for each in ARCHITECTURES.values())
    return {decoder.name: decoder for decoder in decoders if decoder}


def _decoder_files(folder: Path) -> list[tuple[str, str]]:
    """Return path and sha256 of the files of the decoder that a bundle lends."""
    shared = _decoder_of(folder)
    files = sorted(Bundle.read(folder).files)
    return [each for each in files if shared and each[0].startswith(f"{shared.folder}/")]


def _decoder_of(folder: Path) -> SharedDecoder | None:
    """Return the decoder that a bundle lends; None for one without, damaged or unknown."""
    try:
        architecture = ARCHITECTURES.get(Bundle.read(folder).arch)
    except ModelUnavailable:
        return None
    return architecture.decoder if architecture else None


def _reason(pixels: int | None) -> str:
    """Why ``auto`` takes the bundled model that it takes."""
    limit = f"{SMALL_RESULT // 1_000_000} MP"
    if pixels is None:
        return f"the fast bundled model; addsr upscale uses small for results up to {limit}"
    if pixels <= SMALL_RESULT:
        return f"the sharper bundled model, for results up to {limit}"
    return f"the fast bundled model, for results above {limit}"


def _bundled(name: str, reason: str) -> Located:
    file = ASSETS / f"{name}.safetensors"
    if not file.is_file():
        raise ModelUnavailable(
            "The bundled model is missing from this installation.", "Reinstall: pip install addsr."
        )
    return Located(spec=BUNDLED[name], file=file, reason=reason)


def _in(folder: Path, reason: str) -> Located:
    """Return the model of a folder that holds one. Raises ModelUnavailable."""
    architecture = _single_file(folder)
    if architecture:
        file = folder / architecture.single_file
        return Located(
            spec=architecture.spec(file),
            file=file,
            reason=reason,
        )
    record = folder / RECORD
    arch = Bundle.read(folder).arch
    if arch not in ARCHITECTURES:
        raise ModelUnavailable(
            f"{record} names an architecture that this version does not know: {arch}.",
            "Update addsr: pip install --upgrade addsr.",
        )
    return Located(
        spec=ARCHITECTURES[arch].spec(record),
        file=record,
        reason=reason,
    )


def _file(path: Path) -> Located:
    """Return the model in a file of weights. Raises ModelUnavailable."""
    for architecture in ARCHITECTURES.values():
        if architecture.one_network and path.name == architecture.single_file:
            break
    else:
        known = architecture_of_file(path.suffix)
        if known is None:
            raise ModelUnavailable(
                f"{path} is not a weights file.",
                "Give a .pth or .safetensors file, a folder, or a model's name.",
            )
        architecture = known
    return Located(
        spec=architecture.spec(path),
        file=path,
        reason=f"from {path}",
    )


def _single_file(folder: Path) -> Architecture | None:
    """Return the architecture whose single weights file lies in a folder."""
    for architecture in ARCHITECTURES.values():
        if architecture.one_network and (folder / architecture.single_file).is_file():
            return architecture
    return None


def _suggestion(name: str) -> str:
    known = ["auto", *BUNDLED, *MODEL_COMPONENTS, *installed.list_installed()]
    close = get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Use {', '.join(dict.fromkeys(known))}, a model's folder, or a .pth file."
