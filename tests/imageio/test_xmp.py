import re
from xml.etree import ElementTree

import pytest

from addsr_cli.imageio import xmp

PACKET = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="uuid:1"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 tiff:Orientation="6" exif:PixelXDimension='40' xmp:CreatorTool="Lightroom" dc:format="image/jpeg">
<tiff:ImageWidth>40</tiff:ImageWidth><exif:PixelYDimension>30</exif:PixelYDimension>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
SETTINGS = {"Software": "addsr 0.1.0", "addsr": '{"seed": 7, "prompt": "a <b> & \\"c\\" é"}'}


def test_attributes_and_elements_are_corrected_and_nothing_else():
    out = xmp.resized(xmp.upright(PACKET), 160, 120)
    expected = PACKET.replace(b'Orientation="6"', b'Orientation="1"').replace(b"'40'", b"'160'")
    expected = expected.replace(b">40<", b">160<").replace(b">30<", b">120<")
    assert out == expected


def test_orientation_is_found_in_both_forms():
    assert xmp.orientation(PACKET) == 6
    assert xmp.orientation(b"<tiff:Orientation>8</tiff:Orientation>") == 8
    assert xmp.orientation(b"<tiff:Orientation>9</tiff:Orientation>") is None


@pytest.mark.parametrize("packet", [None, PACKET, b"no xml at all"])
def test_settings_come_back_from_valid_xml(packet):
    out = xmp.with_settings(packet, SETTINGS)
    ElementTree.fromstring(re.sub(rb"<\?xpacket[^>]*>", b"", out))
    assert xmp.settings_in(out) == SETTINGS
    assert xmp.AI_UPSCALED.encode() in out


def test_settings_written_twice_are_replaced():
    once = xmp.with_settings(PACKET, {"a": "1"})
    twice = xmp.with_settings(once, SETTINGS)
    assert xmp.settings_in(twice) == SETTINGS
    assert twice.count(b"addsr:settings>") == 2
    assert twice.count(b"CreatorTool") == 2


def test_what_the_photo_said_stays():
    out = xmp.with_settings(PACKET, SETTINGS)
    assert b'dc:format="image/jpeg"' in out
    assert out.count(b'rdf:about="uuid:1"') == 2
    assert b"Lightroom" not in out


def test_damaged_settings_are_no_settings():
    assert xmp.settings_in(b"<addsr:settings>{oops</addsr:settings>") == {}
    assert xmp.settings_in(b"") == {}
