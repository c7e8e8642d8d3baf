"""Encodes a `Photo` into the bytes of a file, with its metadata and the settings it was made by."""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from addsr_cli.errors import OutputRefused
from addsr_cli.imageio import exif as exif_blob
from addsr_cli.imageio import iptc, png, tiff
from addsr_cli.imageio import xmp as xmp_packet
from addsr_cli.imageio.animation import AnimatedPhoto, frames_of
from addsr_cli.imageio.formats import FORMATS, WriteOptions, check_limits, choose_format
from addsr_cli.imageio.photo import IntArray, Photo, as_float, bands, quantize

Warn = Callable[[str], None]

_JPEG_SEGMENT = 65533
_JPEG_XMP = _JPEG_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0")
_JPEG_ICC = 255 * (_JPEG_SEGMENT - 14)  # 255 numbered segments


@dataclass(frozen=True, kw_only=True)
class _Extras:
    """Metadata to write beside the pixels."""

    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None
    iptc: bytes | None
    texts: tuple[tuple[str, str], ...]
    dpi: tuple[float, float] | None
    settings: Mapping[str, str]


def encode(
    photo: Photo,
    options: WriteOptions,
    settings: Mapping[str, str] | None = None,
    *,
    warn: Warn | None = None,
) -> bytes:
    """Return the bytes of a file, see ``encoded_parts``."""
    return b"".join(encoded_parts(photo, options, settings, warn=warn))


def encoded_parts(
    photo: Photo,
    options: WriteOptions,
    settings: Mapping[str, str] | None = None,
    *,
    warn: Warn | None = None,
) -> Iterable[bytes]:
    """Return a file in parts; without ``options.format``, in the photo's own format or PNG.

    A PNG is encoded while its parts are taken, so that it is never in memory as a whole.

    ``settings`` (names to texts) are embedded, with a note that the picture was AI-upscaled.
    ``warn`` is called with a sentence about everything that was left out. Raises OutputRefused when
    the format cannot hold the picture or a value is not finite, UsageError when the options do not
    suit the format.
    """
    warn = warn or _ignore
    name = options.format or choose_format(photo)
    options.check_format(name)
    depth = options.depth_for(photo, name)
    check_limits(
        name,
        width=photo.width,
        height=photo.height,
        channels=photo.channels,
        bit_depth=depth,
    )
    extras = _extras(photo, options, settings or {}, warn)
    _warn_unsupported(name, extras, warn)
    frames = frames_of(photo) if FORMATS[name].sequence else (photo,)
    if isinstance(photo, AnimatedPhoto) and len(frames) == 1:
        warn(f"{name} holds one picture: only the first of {len(photo.frames)} was written")
    pages = [_samples(frame, name, depth, warn) for frame in frames]
    samples = pages[0]
    if name == "PNG":
        return _png(samples, extras)
    if name == "TIFF":
        return tiff.encode(
            pages,
            icc=extras.icc,
            exif=extras.exif,
            xmp=extras.xmp,
            iptc=extras.iptc,
            dpi=extras.dpi,
        )
    if name == "JXL":
        return [_jxl(samples, extras, options)]
    arguments = _lossy_arguments(name, photo, options)
    if name == "GIF" and (comment := extras.settings.get("Comment")):
        arguments["comment"] = comment
    if name == "JPEG":
        extras = _within_segments(extras, warn)
        if extras.dpi:
            arguments["dpi"] = extras.dpi
        arguments["extra"] = b"".join(_jpeg_segments(extras))
    if isinstance(photo, AnimatedPhoto) and len(pages) > 1:
        arguments |= _animation_arguments(name, photo)
    return [_pillow(name, pages, extras, arguments)]


def _ignore(warning: str) -> None:
    """Do nothing with a warning that no caller asked for."""


def _extras(
    photo: Photo,
    options: WriteOptions,
    settings: Mapping[str, str],
    warn: Warn,
) -> _Extras:
    if not options.metadata:
        return _Extras(
            icc=photo.icc,
            exif=None,
            xmp=None,
            iptc=None,
            texts=(),
            dpi=None,
            settings={},
        )
    exif = photo.exif
    if exif:
        try:
            exif = exif_blob.resized(exif, photo.width, photo.height)
            if options.dpi:
                exif = exif_blob.with_resolution(exif, options.dpi)
        except exif_blob.BROKEN:
            exif = None
            warn("the EXIF data is damaged and was left out")
    xmp = photo.xmp
    if xmp:
        xmp = xmp_packet.resized(xmp, photo.width, photo.height)
    if settings:
        if xmp and not xmp_packet.can_merge(xmp):
            warn("the XMP data cannot be edited and was replaced")
        xmp = xmp_packet.with_settings(xmp, settings)
    return _Extras(
        icc=photo.icc,
        exif=exif,
        xmp=xmp,
        iptc=photo.iptc,
        texts=photo.texts,
        dpi=(options.dpi, options.dpi) if options.dpi else photo.dpi,
        settings=settings,
    )


def _warn_unsupported(
    name: str,
    extras: _Extras,
    warn: Warn,
) -> None:
    """Warn about metadata that the format has no place for."""
    if extras.exif and name == "GIF":
        warn("GIF has no place for EXIF data, which was left out")
    if extras.iptc and name not in ("JPEG", "PNG", "TIFF"):
        warn(f"{name} has no place for IPTC data, which was left out")
    keywords = list(dict.fromkeys(keyword for keyword, _ in extras.texts))
    if name == "PNG":
        keywords = []
    elif name == "JPEG":
        keywords = [keyword for keyword in keywords if keyword != "Comment"]
    if keywords:
        warn(f"{name} has no place for the text of {', '.join(keywords)}, which was left out")


def _jpeg_segments(extras: _Extras) -> Iterator[bytes]:
    """Yield APP13 with IPTC data, and one COM for each comment."""
    if extras.iptc:
        yield _segment(0xED, iptc.JPEG_PREFIX + extras.iptc)
    for key, text in extras.texts:
        if key == "Comment":
            yield _segment(0xFE, text.encode("utf-8", "surrogateescape"))


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _samples(
    photo: Photo,
    name: str,
    depth: int,
    warn: Warn,
) -> IntArray:
    """Return integers in a layout that the format and its readers support."""
    if photo.has_alpha and not FORMATS[name].alpha:
        if as_float(photo.samples[:, :, -1].min()) < 1:
            warn(f"{name} has no transparency, so the picture was placed on white")
        return _on_white(photo, depth)
    samples = photo.to_array(depth)
    if name == "TIFF" and depth == 16 and photo.channels == 2:
        # hardly any reader supports 16-bit grey with alpha
        return samples[:, :, [0, 0, 0, 1]]
    return samples


def _on_white(photo: Photo, depth: int) -> IntArray:
    """Return the colour (H, W) or (H, W, 3) over white."""
    channels = photo.channels - 1
    out: Any = np.empty(
        (photo.height, photo.width, channels), np.uint8 if depth == 8 else np.uint16
    )
    for band in bands(photo.height, photo.width):
        pixels = as_float(photo.samples[band])
        alpha = np.clip(pixels[:, :, -1:], 0, 1)
        quantize((pixels[:, :, :-1] - 1) * alpha + 1, out[band])
    return out[:, :, 0] if channels == 1 else out


def _jxl(
    samples: IntArray,
    extras: _Extras,
    options: WriteOptions,
) -> bytes:
    from addsr_cli.imageio import jxl_file  # its library is optional

    try:
        return jxl_file.encode(
            samples,
            quality=None if options.lossless else options.quality or FORMATS["JXL"].quality,
            icc=extras.icc,
            exif=extras.exif,
            xmp=extras.xmp,
        )
    except (RuntimeError, ValueError) as exc:
        raise OutputRefused(f"JXL could not be written: {exc}.", "Use --format png.") from exc


def _png(samples: IntArray, extras: _Extras) -> Iterator[bytes]:
    chunks = []
    if extras.icc:
        chunks.append(png.icc_chunk(extras.icc))
    if extras.dpi:
        chunks.append(png.resolution_chunk(extras.dpi))
    chunks += png.metadata_chunks(extras.exif, extras.xmp, extras.settings)
    if extras.iptc:
        chunks.append(png.text_chunk("Raw profile type iptc", iptc.as_raw_profile(extras.iptc)))
    # The photo's texts follow those of our settings: of two with one keyword many readers show the
    # last, and our settings are in the XMP too.
    chunks += [png.text_chunk(keyword, _decodable(text)) for keyword, text in extras.texts]
    return png.encode(samples, chunks)


def _decodable(text: str) -> str:
    """Return the text with escaped bytes read as Latin-1, their most likely encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    return text


def _lossy_arguments(
    name: str,
    photo: Photo,
    options: WriteOptions,
) -> dict[str, Any]:
    """Return Pillow's keywords. Colour is never subsampled, to keep the detail that was added."""
    quality = options.quality or FORMATS[name].quality
    if name == "GIF":
        return {"optimize": False}
    if name == "WEBP":
        if options.lossless:
            return {"lossless": True, "exact": True, "quality": 75}
        return {"quality": quality, "method": 4, "alpha_quality": 100}
    if name == "AVIF":
        return {"quality": quality, "subsampling": "4:0:0" if photo.gray else "4:4:4"}
    if photo.gray:
        return {"quality": quality}
    return {"quality": quality, "subsampling": 0}


def _animation_arguments(name: str, photo: AnimatedPhoto) -> dict[str, Any]:
    """Return Pillow's keywords for the timing of an animation, and of pages, a second each."""
    count = len(photo.frames)
    durations = photo.durations or (1000.0,) * count
    arguments: dict[str, Any] = {
        "save_all": True,
        "duration": [round(duration) for duration in durations],
    }
    if name == "GIF":
        if any(frame.has_alpha for frame in photo.frames):
            arguments["disposal"] = 2  # clear the frame, since the next one has holes
        if photo.loops != 1:  # without a number, a GIF plays once
            arguments["loop"] = photo.loops
    else:
        arguments["loop"] = photo.loops
    return arguments


def _within_segments(extras: _Extras, warn: Warn) -> _Extras:
    """Leave out, with a warning, what does not fit into JPEG's segments of 64 KB."""
    exif = extras.exif
    if exif and len(exif) + 6 > _JPEG_SEGMENT:
        exif = None
        warn("the EXIF data is larger than JPEG allows and was left out")
    icc = extras.icc
    if icc and len(icc) > _JPEG_ICC:
        icc = None
        warn("the colour profile is larger than JPEG allows and was left out")
    xmp = extras.xmp
    if xmp and len(xmp) > _JPEG_XMP:
        warn("the XMP data is larger than JPEG allows and was left out")
        xmp = xmp_packet.with_settings(None, extras.settings) if extras.settings else None
        if xmp and len(xmp) > _JPEG_XMP:
            xmp = None
    iptc_blocks = extras.iptc
    if iptc_blocks and len(iptc_blocks) + len(iptc.JPEG_PREFIX) > _JPEG_SEGMENT:
        iptc_blocks = None
        warn("the IPTC data is larger than JPEG allows and was left out")
    texts = tuple(
        (keyword, text)
        for keyword, text in extras.texts
        if len(text.encode("utf-8", "surrogateescape")) <= _JPEG_SEGMENT
    )
    if len(texts) < len(extras.texts):
        warn("a comment is longer than JPEG allows and was left out")
    return replace(
        extras,
        icc=icc,
        exif=exif,
        xmp=xmp,
        iptc=iptc_blocks,
        texts=texts,
    )


def _images(pages: Sequence[IntArray]) -> list[Image.Image]:
    """Return Pillow images of one mode that all formats know: L, RGB or RGBA."""
    images = [Image.fromarray(samples) for samples in pages]
    modes = {image.mode for image in images}
    if modes <= {"L"}:
        return images
    mode = "RGBA" if modes & {"LA", "RGBA"} else "RGB"
    return [image if image.mode == mode else image.convert(mode) for image in images]


def _pillow(
    name: str,
    pages: Sequence[IntArray],
    extras: _Extras,
    arguments: dict[str, Any],
) -> bytes:
    if extras.icc:
        arguments["icc_profile"] = extras.icc
    if extras.exif:
        arguments["exif"] = b"Exif\0\0" + extras.exif
    if extras.xmp:
        arguments["xmp"] = extras.xmp
    image, *following = _images(pages)
    if following:
        arguments["append_images"] = following
    with BytesIO() as out:
        try:
            image.save(out, name, **arguments)
        except (OSError, ValueError, KeyError) as exc:
            # KeyError: this Pillow was built without the format
            reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            raise OutputRefused(
                f"{name} could not be written: {reason}.", "Use --format png."
            ) from exc
        data = out.getvalue()
    if name == "WEBP" and following and image.mode == "RGBA":
        return _with_alpha_flag(data)
    return data


def _with_alpha_flag(webp: bytes) -> bytes:
    """Set the flag for transparency in the header of an animation.

    libwebp cuts frames to what is visible and leaves the flag out if only full pixels remain;
    decoders then make the rest black.
    """
    if webp[12:16] != b"VP8X":
        return webp
    return webp[:20] + bytes([webp[20] | 0x10]) + webp[21:]
