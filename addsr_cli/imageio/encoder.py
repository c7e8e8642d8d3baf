"""`Photo` -> the bytes of a file, with its profile, its metadata and a note on how it was made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from addsr_cli.errors import OutputRefused
from addsr_cli.imageio import exif as exif_blob
from addsr_cli.imageio import png, tiff
from addsr_cli.imageio import xmp as xmp_packet
from addsr_cli.imageio.formats import FORMATS, WriteOptions, check_limits, choose_format
from addsr_cli.imageio.photo import IntArray, Photo

Warn = Callable[[str], None]

_JPEG_SEGMENT = 65533
_JPEG_XMP = _JPEG_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0")
_JPEG_ICC = 255 * (_JPEG_SEGMENT - 14)  # 255 numbered segments


@dataclass(frozen=True, kw_only=True)
class _Extras:
    """What goes into the file beside the pixels."""

    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None
    dpi: tuple[float, float] | None
    settings: Mapping[str, str]


def encode(
    photo: Photo, options: WriteOptions, settings: Mapping[str, str] | None = None, *, warn: Warn | None = None
) -> bytes:
    """Turn the photo into the bytes of a file; without ``options.format``, in the photo's own format or PNG.

    ``settings`` (names to texts) are embedded, with a note that the picture was AI-upscaled. ``warn`` is called with a
    sentence for each thing that had to be left out. Raises OutputRefused when the format cannot hold the picture or a
    value is not finite, UsageError when the options do not suit the format.
    """
    tell: Warn = warn or (lambda _: None)
    name = options.format or choose_format(photo)
    options.check_format(name)
    depth = options.depth_for(photo, name)
    check_limits(name, width=photo.width, height=photo.height, channels=photo.channels, bit_depth=depth)
    extras = _extras(photo, options, settings or {}, tell)
    samples = _samples(photo, name, depth, tell)
    if name == "PNG":
        return _png(samples, extras)
    if name == "TIFF":
        return tiff.encode(samples, icc=extras.icc, exif=extras.exif, xmp=extras.xmp, dpi=extras.dpi)
    arguments = _lossy_arguments(name, photo, options)
    if name == "JPEG":
        extras = _within_segments(extras, tell)
        arguments |= {"dpi": extras.dpi} if extras.dpi else {}
    return _pillow(name, samples, extras, arguments)


def _extras(photo: Photo, options: WriteOptions, settings: Mapping[str, str], tell: Warn) -> _Extras:
    if not options.metadata:
        return _Extras(icc=photo.icc, exif=None, xmp=None, dpi=None, settings={})
    exif, xmp = photo.exif, photo.xmp
    if exif:
        try:
            exif = exif_blob.resized(exif, photo.width, photo.height)
        except exif_blob.BROKEN:
            exif = None
            tell("the EXIF data is damaged and was left out")
    if xmp:
        xmp = xmp_packet.resized(xmp, photo.width, photo.height)
    if settings:
        if xmp and not xmp_packet.can_merge(xmp):
            tell("the XMP data cannot be edited and was replaced")
        xmp = xmp_packet.with_settings(xmp, settings)
    return _Extras(icc=photo.icc, exif=exif, xmp=xmp, dpi=photo.dpi, settings=settings)


def _samples(photo: Photo, name: str, depth: int, tell: Warn) -> IntArray:
    """Integers in a layout that the format (and its readers) can take."""
    if photo.alpha is not None and not FORMATS[name].alpha:
        if photo.alpha.min() < 1:
            tell(f"{name} has no transparency: the picture was put on white")
        return _on_white(photo).to_array(depth)
    samples = photo.to_array(depth)
    if name == "TIFF" and depth == 16 and photo.channels == 2:  # hardly any reader takes 16-bit grey with alpha
        return samples[:, :, [0, 0, 0, 1]]
    return samples


def _on_white(photo: Photo) -> Photo:
    if photo.alpha is None:
        return photo
    alpha = np.clip(photo.alpha, 0, 1)[:, :, None]
    rgb = (photo.rgb - 1) * alpha
    rgb += 1
    return Photo(rgb=rgb, gray=photo.gray, bit_depth=photo.bit_depth)


def _png(samples: IntArray, extras: _Extras) -> bytes:
    if samples.dtype == np.uint16:
        plain = png.encode16(samples.astype(np.uint16, copy=False))
    else:
        with BytesIO() as out:
            Image.fromarray(samples).save(out, "PNG")
            plain = out.getvalue()
    chunks = [png.icc_chunk(extras.icc)] if extras.icc else []
    if extras.dpi:
        chunks.append(png.resolution_chunk(extras.dpi))
    return png.with_chunks(plain, chunks + png.metadata_chunks(extras.exif, extras.xmp, extras.settings))


def _lossy_arguments(name: str, photo: Photo, options: WriteOptions) -> dict[str, Any]:
    """Pillow's keywords. Colour is never subsampled: an upscaled picture should not lose it again."""
    quality = options.quality or FORMATS[name].quality
    if name == "WEBP":
        if options.lossless:
            return {"lossless": True, "exact": True, "quality": 75}
        return {"quality": quality, "method": 4, "alpha_quality": 100}
    if name == "AVIF":
        return {"quality": quality, "subsampling": "4:0:0" if photo.gray else "4:4:4"}
    return {"quality": quality} if photo.gray else {"quality": quality, "subsampling": 0}


def _within_segments(extras: _Extras, tell: Warn) -> _Extras:
    """Leave out what JPEG's 64 KB segments cannot hold, and tell."""
    exif, xmp, icc = extras.exif, extras.xmp, extras.icc
    if exif and len(exif) + 6 > _JPEG_SEGMENT:
        exif = None
        tell("the EXIF data is larger than JPEG allows and was left out")
    if icc and len(icc) > _JPEG_ICC:
        icc = None
        tell("the colour profile is larger than JPEG allows and was left out")
    if xmp and len(xmp) > _JPEG_XMP:
        tell("the XMP data is larger than JPEG allows and was left out")
        xmp = xmp_packet.with_settings(None, extras.settings) if extras.settings else None
        if xmp and len(xmp) > _JPEG_XMP:
            xmp = None
    return _Extras(icc=icc, exif=exif, xmp=xmp, dpi=extras.dpi, settings=extras.settings)


def _pillow(name: str, samples: IntArray, extras: _Extras, arguments: dict[str, Any]) -> bytes:
    if extras.icc:
        arguments["icc_profile"] = extras.icc
    if extras.exif:
        arguments["exif"] = b"Exif\0\0" + extras.exif
    if extras.xmp:
        arguments["xmp"] = extras.xmp
    image = Image.fromarray(samples)
    if image.mode == "LA":
        image = image.convert("RGBA")
    with BytesIO() as out:
        try:
            image.save(out, name, **arguments)
        except (OSError, ValueError, KeyError) as exc:  # KeyError: this Pillow was built without the format
            reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            raise OutputRefused(f"{name} could not be written: {reason}.", "Use --format png.") from exc
        return out.getvalue()
