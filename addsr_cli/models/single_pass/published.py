"""Networks of Real-ESRGAN, as their authors publish them."""

from addsr_cli.models.component import Component, FileSpec, Source
from addsr_cli.models.published import Downloads, PublishedModel


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


def _convert(downloads: Downloads) -> None:
    from addsr_cli.models.single_pass.conversion import convert_network

    [component] = downloads.components
    convert_network(
        downloads.file(component),
        name=downloads.name,
        licence=downloads.licence,
        output=downloads.output,
    )


# Networks that answer in one pass, with their scale. Sizes and digests are those that many projects
# pin, such as distributions' packages.
REAL_ESRGAN = {
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
PUBLISHED = tuple(
    PublishedModel(
        name=component.name,
        components=(component,),
        convert=_convert,
        scale=scale,
    )
    for component, scale in REAL_ESRGAN.items()
)
