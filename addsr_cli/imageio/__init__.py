"""Reads and writes photos: upright pixels and the metadata of the file. No torch."""

from addsr_cli.imageio.access import FileAccess, common_access
from addsr_cli.imageio.animation import AnimatedPhoto, Frames, animate, frames_of
from addsr_cli.imageio.crop import crop
from addsr_cli.imageio.encoder import encode
from addsr_cli.imageio.extras import EXTRAS
from addsr_cli.imageio.formats import (
    WriteOptions,
    choose_format,
    format_from_suffix,
    holds_16_bits,
    suffix_for,
    writable_formats,
)
from addsr_cli.imageio.opening import (
    buffer_pipe,
    photo_suffixes,
    readable_formats,
    readable_suffixes,
)
from addsr_cli.imageio.photo import Header, Photo, from_array
from addsr_cli.imageio.picture_file import MAX_PIXELS
from addsr_cli.imageio.reader import from_pil, read, read_header, read_reduced, read_settings
from addsr_cli.imageio.resample import (
    fill_transparent,
    resize,
    resize_alpha,
    resize_into,
    resize_photo,
    resize_window,
)
from addsr_cli.imageio.writer import (
    check_output,
    check_target,
    name_limit,
    write,
    write_bytes,
    write_error,
)

__all__ = [
    "EXTRAS",
    "MAX_PIXELS",
    "AnimatedPhoto",
    "FileAccess",
    "Frames",
    "Header",
    "Photo",
    "WriteOptions",
    "animate",
    "buffer_pipe",
    "check_output",
    "check_target",
    "choose_format",
    "common_access",
    "crop",
    "encode",
    "fill_transparent",
    "format_from_suffix",
    "frames_of",
    "from_array",
    "from_pil",
    "holds_16_bits",
    "name_limit",
    "photo_suffixes",
    "read",
    "read_header",
    "read_reduced",
    "read_settings",
    "readable_formats",
    "readable_suffixes",
    "resize",
    "resize_alpha",
    "resize_into",
    "resize_photo",
    "resize_window",
    "suffix_for",
    "writable_formats",
    "write",
    "write_bytes",
    "write_error",
]
