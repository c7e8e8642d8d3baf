"""StableSR as an installed model: from the downloaded checkpoints to a bundle."""

from addsr_cli.models.component import Component
from addsr_cli.models.published import Downloads
from addsr_cli.models.seesr.loading import WEIGHTS
from addsr_cli.models.seesr.published import SD2_BASE, SD_TURBO
from addsr_cli.models.stablesr.conversion import Checkpoints, build_stablesr, differences
from addsr_cli.models.stablesr.published import SD21_UNET, STABLESR_CFW
from addsr_cli.models.stablesr.sampling_defaults import SAMPLING_DEFAULTS

# The stock UNets that the authors say they kept, and where they lie in their components
STOCK: dict[str, tuple[Component, str]] = {
    "stablesr-turbo": (SD_TURBO, "unet/diffusion_pytorch_model.fp16.safetensors"),
    "stablesr-768v": (SD21_UNET, f"unet/{WEIGHTS}"),
}
SMALL = "-small"  # suffix of the models that take the stock UNet


def convert(downloads: Downloads) -> None:
    """Convert the checkpoints of one model.

    Where the stock UNet is on this computer too, the user is told whether the checkpoint kept it,
    and the bundle records it.
    """
    model = downloads.name.removesuffix(SMALL)
    unet = None
    comparison = {}
    if model != downloads.name:
        stock, path = STOCK[model]
        unet = downloads.folders[stock.name] / path
    elif model in STOCK:
        comparison = _comparison(downloads)
    build_stablesr(
        Checkpoints(
            main=downloads.file(downloads.components[0]),
            cfw=downloads.file(STABLESR_CFW),
            base=downloads.folders[SD2_BASE.name],
            unet=unet,
        ),
        output=downloads.output,
        name=downloads.name,
        licence=downloads.licence,
        defaults=SAMPLING_DEFAULTS[model],
        source={**downloads.origins, **comparison},
        known_digests=downloads.digests,
        dtype=downloads.dtype,
    )


def _comparison(downloads: Downloads) -> dict[str, object]:
    """Compare the checkpoint's UNet with the stock one, if that has been downloaded."""
    stock, path = STOCK[downloads.name]
    folder = downloads.find_component(stock)
    if folder is None:
        return {}
    differing = differences(downloads.file(downloads.components[0]), folder / path)
    verdict = f"differs in {len(differing)} weights from" if differing else "equals"
    downloads.on_message(f"the UNet {verdict} that of {stock.title}")
    return {"stock_unet": {"component": stock.name, "differing_weights": len(differing)}}
