"""Bytes <-> `Photo`: upright float pixels, and all that is worth keeping from the file. No torch."""

from addsr_cli.imageio.access import Access, common
from addsr_cli.imageio.encoder import encode
from addsr_cli.imageio.formats import WriteOptions, choose_format, named_format, suffix_for
from addsr_cli.imageio.opening import MAX_PIXELS, held, readable_suffixes
from addsr_cli.imageio.photo import Header, Photo, from_array
from addsr_cli.imageio.reader import from_pil, read, read_header, read_settings
from addsr_cli.imageio.resample import fill_transparent, resize, resize_alpha
from addsr_cli.imageio.writer import (
    check_output,
    check_target,
    name_limit,
    refusal,
    sweep,
    write,
    write_bytes,
)

__all__ = [
    "MAX_PIXELS",
    "Access",
    "Header",
    "Photo",
    "WriteOptions",
    "check_output",
    "check_target",
    "choose_format",
    "common",
    "encode",
    "fill_transparent",
    "from_array",
    "from_pil",
    "held",
    "name_limit",
    "named_format",
    "read",
    "read_header",
    "read_settings",
    "readable_suffixes",
    "refusal",
    "resize",
    "resize_alpha",
    "suffix_for",
    "sweep",
    "write",
    "write_bytes",
]
