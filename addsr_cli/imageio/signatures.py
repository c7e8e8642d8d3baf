"""What kind of file this is, from its first bytes: who reads it, or why nobody does."""

import re

HEAD_BYTES = 64

_CONVERT = "Convert it to JPEG or PNG first."
_FETCH = "Get a complete copy of the file."
_VIDEO = "Save a frame of it as PNG first."
_HDR = "Convert it to 16-bit PNG or TIFF first."

# Brands of ISO base media files (ISO/IEC 23008-12, annex B): HEVC, and any codec.
_HEVC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_ANY_BRANDS = (b"mif1", b"mif2", b"msf1", b"avci", b"avcs", b"jpeg", b"jpgs", b"vvic")
_AV1_BRANDS = (b"avif", b"avis")
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
# Raw files that are no TIFF files. Of the others, Pillow sees a preview, or a layout that it does
# not know; Canon's CR2 looks like a TIFF photo.
_RAW = re.compile(
    rb"II\*\0....CR|II\*\0....IIII|IIR[OS]|IIU\0|MMOR|FUJIFILMCCD-RAW|....ftypcrx|FOVb|\0MRM"
    rb"|II\x1a\0\0\0HEAPCCDR",
    re.DOTALL,
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Beginnings of files that nobody here reads: pattern, name, hint.
_UNSUPPORTED = (
    (rb"%PDF", "a PDF document", "Export the page as PNG first."),
    (rb"%!PS", "a PostScript document", "Export the page as PNG first."),
    (rb"\s*<(!doctype html|html)", "a web page", "Save the picture itself, not its page."),
    (rb"\s*<(\?xml|svg)", "an SVG or XML file", "Export it as PNG first."),
    (
        rb"II[*+]\0|MM\0[*+]",
        "a TIFF of a kind that is not supported",
        "Save it as 8-bit or 16-bit RGB TIFF or PNG first.",
    ),
    (rb"II\xbc\x01", "a JPEG XR file", _CONVERT),
    (rb"v/1\x01", "an OpenEXR file", _HDR),
    (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR file", _HDR),
    (rb"SIMPLE  =", "a FITS file", _HDR),
    (rb"gimp xcf", "a GIMP project", "Export it as PNG first."),
    (rb"DDS ", "a DDS texture", _CONVERT),
    (rb"BPG\xfb", "a BPG file", _CONVERT),
    (rb"....ftyp", "a video", _VIDEO),
    (rb"\x1a\x45\xdf\xa3|RIFF....AVI |\0\0\x01\xba", "a video", _VIDEO),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "an archive", "Unpack it first."),
)
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM")


def is_heif(head: bytes) -> bool:
    """Return whether this is HEIF, but not AVIF, which Pillow reads."""
    if head[4:8] != b"ftyp":
        return False
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    if brands[0] in _HEVC_BRANDS:
        return True
    return brands[0] in _ANY_BRANDS and not any(brand in _AV1_BRANDS for brand in brands)


def is_jxl(head: bytes) -> bool:
    """Return whether this is JPEG XL: a bare codestream, or a container."""
    return head.startswith(_JXL)


def is_camera_raw(head: bytes) -> bool:
    """Return whether this is camera raw data; False for a TIFF that may be anything."""
    return bool(_RAW.match(head))


def is_tiff(head: bytes) -> bool:
    """Return whether this is a TIFF file, which camera raw data often are."""
    return head.startswith(_TIFF)


def describe_unreadable(head: bytes) -> tuple[str, str]:
    """Return what kind of file nobody can read here, and a hint."""
    if head.startswith(_PICTURES) or head[4:12] == b"ftypavif":
        is_video = head.startswith(b"RIFF") and head[8:12] != b"WEBP"
        if not is_video:
            return "damaged: its header is incomplete", _FETCH
    for pattern, kind, hint in _UNSUPPORTED:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return kind, hint
    return "not a picture in a format that can be read", _CONVERT
