"""Generated pictures and metadata for the tests of this folder."""

import struct
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
MAKER_NOTE = b"Maker\0\x01\x02\x03" * 5


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def smooth(height, width, channels=3):
    """A uint8 picture without sharp edges, which lossy formats keep well."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(y * (c + 1) + x * 2) * 255 / (height * (c + 1) + width * 2) for c in range(channels)]
    return np.stack(planes, axis=2).astype(np.uint8)


def saved(image, fmt, **arguments):
    with BytesIO() as out:
        image.save(out, fmt, **arguments)
        return out.getvalue()


@cache  # Little CMS puts the time of day into it
def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def make_exif(orientation=6, width=40, height=30, endian="<", thumbnail=b"\xff\xd8thumb\xff\xd9"):
    """An EXIF blob as cameras write it: IFD0, Exif IFD with a maker note, IFD1 (thumbnail)."""
    e = endian
    make, exif_at, ifd1_at = 8 + 2 + 36 + 4, 60, 60 + 2 + 36 + 4 + len(MAKER_NOTE) + 1
    ifd0 = struct.pack(e + "H", 3)
    ifd0 += struct.pack(e + "HHII", 0x010F, 2, 8, make)
    ifd0 += struct.pack(e + "HHIHH", 0x0112, 3, 1, orientation, 0)
    ifd0 += struct.pack(e + "HHII", 0x8769, 4, 1, exif_at) + struct.pack(e + "I", ifd1_at)
    note_at = exif_at + 2 + 36 + 4
    sub = struct.pack(e + "H", 3)
    sub += struct.pack(e + "HHII", 0x927C, 7, len(MAKER_NOTE), note_at)
    sub += struct.pack(e + "HHIHH", 0xA002, 3, 1, width, 0)
    sub += struct.pack(e + "HHIHH", 0xA003, 3, 1, height, 0) + struct.pack(e + "I", 0)
    thumb_at = ifd1_at + 2 + 24 + 4
    ifd1 = struct.pack(e + "H", 2)
    ifd1 += struct.pack(e + "HHII", 0x0201, 4, 1, thumb_at)
    ifd1 += struct.pack(e + "HHII", 0x0202, 4, 1, len(thumbnail)) + struct.pack(e + "I", 0)
    head = (b"II*\0" if e == "<" else b"MM\0*") + struct.pack(e + "I", 8)
    blob = (head + ifd0 + b"Camera1\0").ljust(exif_at, b"\0") + sub + MAKER_NOTE
    return blob.ljust(ifd1_at, b"\0") + ifd1 + thumbnail


def pil_exif(blob):
    exif = Image.Exif()
    exif.load(blob)
    return exif


def insert_chunks(png, chunks):
    """Insert chunks into a PNG file, directly after its header of 33 bytes."""
    return b"".join([png[:33], *chunks, png[33:]])
