"""XMP packets edited as bytes: what is not named here stays as it was.

Packets come from strangers. `is_sound` lets the system's XML parser decide what is one, without
declarations of entities; every search here takes time in proportion to the packet's length.

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
_OURS = b' xmlns:addsr="'
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
_RDF = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
_DESCRIPTION = """<rdf:Description rdf:about={about}\
 xmlns:addsr="{namespace}"\
 xmlns:xmp="http://ns.adobe.com/xap/1.0/"\
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<xmp:CreatorTool>{tool}</xmp:CreatorTool>
<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
<addsr:settings>{settings}</addsr:settings>
</rdf:Description>
"""


class _DeclaresThings(ValueError):
    """A packet brings a document type, in which entities are declared; no XMP has one."""


def is_sound(packet: bytes) -> bool:
    """Whether a packet is well-formed XML without a document type."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(packet, True)
    except (
        expat.ExpatError,
        _DeclaresThings,
        ValueError,
    ):  # ValueError: an encoding it does not know
        return False
    return True


def _refuse(*_: object) -> None:
    raise _DeclaresThings


def orientation(packet: bytes) -> int | None:
    """Get ``tiff:Orientation``, 1..8, or None."""
    found = _attribute("tiff:Orientation").search(packet) or _element("tiff:Orientation").search(
        packet
    )
    text = found[2].strip() if found else b""
    return int(text) if text in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8") else None


def upright(packet: bytes) -> bytes:
    """Set ``tiff:Orientation``, where present, to 1."""
    return _replace(packet, "tiff:Orientation", 1)


def resized(packet: bytes, width: int, height: int) -> bytes:
    """Set the TIFF and EXIF dimensions that are there to the new size in pixels."""
    for name, value in (("ImageWidth", width), ("ImageLength", height)):
        packet = _replace(packet, f"tiff:{name}", value)
    for name, value in (("PixelXDimension", width), ("PixelYDimension", height)):
        packet = _replace(packet, f"exif:{name}", value)
    return packet


def can_merge(packet: bytes) -> bool:
    """Whether settings can be added to this packet: UTF-8 RDF with the usual prefix."""
    return _CLOSE in packet


def with_settings(packet: bytes | None, settings: Mapping[str, str]) -> bytes:
    """Say in the packet (a new one for None, or where it cannot be merged) how and by what the picture was made.

    The settings travel as one JSON object, because their names need not be XML names.
    """
    base = packet if packet is not None and can_merge(packet) else (_HEAD + _RDF).encode()
    base = _without_ours(base)
    for name in (
        "xmp:CreatorTool",
        "Iptc4xmpExt:DigitalSourceType",
    ):  # a property may occur once per packet
        base = _element(name).sub(b"", _attribute(name).sub(b"", base))
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


def _without_ours(packet: bytes) -> bytes:
    """The packet less the descriptions that `with_settings` wrote into it before, and the space in front of them."""
    kept, end, ours = [], 0, None
    for tag in _DESCRIPTION_TAG.finditer(packet):
        if tag[1] and ours is not None:
            kept.append(packet[end:ours].rstrip())
            end = tag.end()
        closed = tag[1] or tag[0].endswith(b"/>")
        ours = tag.start() if not closed and _OURS in tag[0] else None
    return b"".join([*kept, packet[end:]])


def settings_in(packet: bytes) -> dict[str, str]:
    """Get what `with_settings` put there; empty when there are none or they are damaged."""
    found = _element("addsr:settings").search(packet) or _attribute("addsr:settings").search(packet)
    if not found:
        return {}
    text = html.unescape(found[2].decode("utf-8", "replace"))
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}


def _attribute(name: str) -> re.Pattern[bytes]:
    text = name.encode()  # before what must not precede it: literal text is searched for faster
    return re.compile(rb"(" + text + rb"(?<![\w:.-]" + text + rb")\s*=\s*[\"'])([^\"'<>]*)([\"'])")


def _element(name: str) -> re.Pattern[bytes]:
    tag = name.encode()
    return re.compile(rb"(<" + tag + rb"(?:\s[^<>/]*)?>)([^<]*)(</" + tag + rb"\s*>)")


def _replace(packet: bytes, name: str, value: int) -> bytes:
    new = str(value).encode()
    for pattern in (_attribute(name), _element(name)):
        packet = pattern.sub(lambda found: found[1] + new + found[3], packet)
    return packet
