"""XMP packets, edited as bytes so that everything else in them stays as it was.

Packets are untrusted. `is_sound` accepts what the XML parser accepts, without declarations of
entities; every search here takes time in proportion to the packet's length.

Properties come as attributes (``tiff:Orientation="6"``) or as elements
(``<tiff:Orientation>6</tiff:Orientation>``).
"""

import html
import json
import re
from collections.abc import Mapping
from xml.parsers import expat

from addsr_cli.version import __version__

NAMESPACE = "https://addsr.github.io/ns/1.0/"
AI_UPSCALED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_CLOSE = b"</rdf:RDF>"
_DESCRIPTION_TAG = re.compile(rb"<(/?)rdf:Description\b[^>]*>")
_OUR_NAMESPACE = b' xmlns:addsr="'
_EMPTY_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
_DESCRIPTION = """<rdf:Description rdf:about={about}\
 xmlns:addsr="{namespace}"\
 xmlns:xmp="http://ns.adobe.com/xap/1.0/"\
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<xmp:CreatorTool>{tool}</xmp:CreatorTool>
<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
<addsr:settings>{settings}</addsr:settings>
</rdf:Description>
"""


class _HasDocumentType(ValueError):
    """The packet has a document type, which can declare entities; XMP never has one."""


def is_sound(packet: bytes) -> bool:
    """Return whether a packet is well-formed XML without a document type."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(packet, True)
    except (expat.ExpatError, ValueError):  # ValueError: a document type, or an unknown encoding
        return False
    return True


def _refuse(*_: object) -> None:
    raise _HasDocumentType


def orientation(packet: bytes) -> int | None:
    """Return ``tiff:Orientation``, 1..8, or None."""
    text = (_property(packet, "tiff:Orientation") or b"").strip()
    return int(text) if text in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8") else None


def upright(packet: bytes) -> bytes:
    """Return the packet with ``tiff:Orientation``, where present, set to 1."""
    return _replace(packet, "tiff:Orientation", 1)


def resized(
    packet: bytes,
    width: int,
    height: int,
) -> bytes:
    """Return the packet with existing TIFF and EXIF dimensions set (pixels)."""
    for name, value in (("ImageWidth", width), ("ImageLength", height)):
        packet = _replace(packet, f"tiff:{name}", value)
    for name, value in (("PixelXDimension", width), ("PixelYDimension", height)):
        packet = _replace(packet, f"exif:{name}", value)
    return packet


def can_merge(packet: bytes) -> bool:
    """Return whether settings can be added to this packet: UTF-8 RDF with the default prefix."""
    return _CLOSE in packet


def with_settings(packet: bytes | None, settings: Mapping[str, str]) -> bytes:
    """Return the packet with the settings, the tool, and the note that AI upscaled the picture.

    It is a new packet for None, and for one that cannot be merged. The settings are one JSON
    object, since their names need not be XML names.
    """
    if packet is None or not can_merge(packet):
        packet = _EMPTY_PACKET.encode()
    base = _without_settings(packet)
    # a property may occur only once in a packet
    for name in ("xmp:CreatorTool", "Iptc4xmpExt:DigitalSourceType"):
        base = _attribute(name).sub(b"", base)
        base = _element(name).sub(b"", base)
    about = re.search(rb"rdf:about\s*=\s*(\"[^\"<>]*\"|'[^'<>]*')", base)
    description = _DESCRIPTION.format(
        about=about[1].decode("utf-8", "replace") if about else '""',
        namespace=NAMESPACE,
        tool=html.escape(settings.get("Software", f"addsr {__version__}"), quote=False),
        source=AI_UPSCALED,
        settings=html.escape(json.dumps(dict(settings)), quote=False),
    )
    head, close, tail = base.rpartition(_CLOSE)
    return head + description.encode() + close + tail


def _without_settings(packet: bytes) -> bytes:
    """Return the packet without earlier descriptions of `with_settings` and the space before."""
    pieces = []
    end = 0  # of the last description that was left out
    start = None  # of a description of ours that is open
    for tag in _DESCRIPTION_TAG.finditer(packet):
        is_closing = bool(tag[1])
        if is_closing and start is not None:
            pieces.append(packet[end:start].rstrip())
            end = tag.end()
        opens = not is_closing and not tag[0].endswith(b"/>")
        start = tag.start() if opens and _OUR_NAMESPACE in tag[0] else None
    pieces.append(packet[end:])
    return b"".join(pieces)


def settings_in(packet: bytes) -> dict[str, str]:
    """Return the settings of `with_settings`; empty when there are none or they are damaged."""
    match = _element("addsr:settings").search(packet) or _attribute("addsr:settings").search(packet)
    if not match:
        return {}
    text = html.unescape(match[2].decode("utf-8", "replace"))
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(values, dict):
        return {}
    return {str(name): str(value) for name, value in values.items()}


def _property(packet: bytes, name: str) -> bytes | None:
    """Return the value of a property, an attribute or else an element."""
    match = _attribute(name).search(packet) or _element(name).search(packet)
    return match[2] if match else None


def _attribute(name: str) -> re.Pattern[bytes]:
    # The name comes before the lookbehind for what must not precede it: a search for literal text
    # is faster.
    text = name.encode()
    return re.compile(rb"(" + text + rb"(?<![\w:.-]" + text + rb")\s*=\s*[\"'])([^\"'<>]*)([\"'])")


def _element(name: str) -> re.Pattern[bytes]:
    tag = name.encode()
    return re.compile(rb"(<" + tag + rb"(?:\s[^<>/]*)?>)([^<]*)(</" + tag + rb"\s*>)")


def _replace(
    packet: bytes,
    name: str,
    value: int,
) -> bytes:
    new = str(value).encode()
    for pattern in (_attribute(name), _element(name)):
        packet = pattern.sub(lambda match: match[1] + new + match[3], packet)
    return packet
