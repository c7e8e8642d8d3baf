"""XMP packets edited as bytes: what is not named here stays as it was.

Properties come as attributes (``tiff:Orientation="6"``) or as elements (``<tiff:Orientation>6</tiff:Orientation>``).
"""

import json
import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, unescape

from addsr_cli.version import __version__

NAMESPACE = "https://addsr.github.io/ns/1.0/"
AI_UPSCALED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_CLOSE = b"</rdf:RDF>"
_OURS = re.compile(
    rb"\s*<rdf:Description[^>]*\sxmlns:addsr=\"[^>]*>(?:(?!</?rdf:Description).)*</rdf:Description>", re.S
)
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
_RDF = (
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
)
_DESCRIPTION = """<rdf:Description rdf:about={about}\
 xmlns:addsr="{namespace}"\
 xmlns:xmp="http://ns.adobe.com/xap/1.0/"\
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<xmp:CreatorTool>{tool}</xmp:CreatorTool>
<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
<addsr:settings>{settings}</addsr:settings>
</rdf:Description>
"""


def orientation(packet: bytes) -> int | None:
    """Get ``tiff:Orientation``, 1..8, or None."""
    found = _attribute("tiff:Orientation").search(packet) or _element("tiff:Orientation").search(packet)
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
    base = _OURS.sub(b"", base)
    for name in ("xmp:CreatorTool", "Iptc4xmpExt:DigitalSourceType"):  # a property may occur once per packet
        base = _element(name).sub(b"", re.sub(rb"\s" + _attribute(name).pattern, b"", base))
    about = re.search(rb"rdf:about\s*=\s*(\"[^\"<>]*\"|'[^'<>]*')", base)
    description = _DESCRIPTION.format(
        about=about[1].decode("utf-8", "replace") if about else '""',
        namespace=NAMESPACE,
        tool=escape(settings.get("Software", f"addsr {__version__}")),
        source=AI_UPSCALED,
        settings=escape(json.dumps(dict(settings))),
    )
    head, close, tail = base.rpartition(_CLOSE)
    return head + description.encode() + close + tail


def settings_in(packet: bytes) -> dict[str, str]:
    """Get what `with_settings` put there; empty when there are none or they are damaged."""
    found = _element("addsr:settings").search(packet) or _attribute("addsr:settings").search(packet)
    if not found:
        return {}
    text = unescape(found[2].decode("utf-8", "replace"), {"&quot;": '"', "&apos;": "'", "&#34;": '"', "&#39;": "'"})
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}


def _attribute(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"((?<![\w:.-])" + name.encode() + rb"\s*=\s*[\"'])([^\"'<>]*)([\"'])")


def _element(name: str) -> re.Pattern[bytes]:
    tag = name.encode()
    return re.compile(rb"(<" + tag + rb"(?:\s[^<>/]*)?>)([^<]*)(</" + tag + rb"\s*>)")


def _replace(packet: bytes, name: str, value: int) -> bytes:
    new = str(value).encode()
    for pattern in (_attribute(name), _element(name)):
        packet = pattern.sub(lambda found: found[1] + new + found[3], packet)
    return packet
