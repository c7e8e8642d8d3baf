import re
import time
from functools import partial
from timeit import timeit
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


def test_orientation_is_read_from_attributes_and_elements():
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


def test_metadata_of_the_photo_is_preserved():
    out = xmp.with_settings(PACKET, SETTINGS)
    assert b'dc:format="image/jpeg"' in out
    assert out.count(b'rdf:about="uuid:1"') == 2
    assert b"Lightroom" not in out


def test_damaged_settings_are_no_settings():
    assert xmp.settings_in(b"<addsr:settings>{oops</addsr:settings>") == {}
    assert xmp.settings_in(b"") == {}


LONG = 1_000_000
DECLARATION = b'<rdf:Description xmlns:addsr="x" '
HOSTILE = {
    "spaces": b" " * LONG,
    "spaces in a packet": PACKET.replace(b"</rdf:RDF>", b" " * LONG + b"</rdf:RDF>"),
    "spaces in a tag": PACKET.replace(b" tiff:Orientation", b" " * LONG + b"tiff:Orientation"),
    "spaces before an equals sign": PACKET.replace(
        b'Orientation="', b"Orientation" + b" " * LONG + b'="'
    ),
    "descriptions that never end": b'<rdf:Description xmlns:addsr="x">' * (LONG // 33),
    "tags that never end": DECLARATION * (LONG // len(DECLARATION)),
    "declarations in one tag": b"<rdf:Description" + b' xmlns:addsr="' * (LONG // 14) + b">",
    "names": b"tiff:Orientation " * (LONG // 17),
    "quotes": b'tiff:Orientation="' * (LONG // 18),
    "open elements": b"<tiff:Orientation " * (LONG // 18),
    "elements in elements": b"<a>" * (LONG // 3),
    "elements": b"<r>" + b"<a/>" * (LONG // 4) + b"</r>",
    "comments": b"<!--" * (LONG // 4),
    "abouts": b'rdf:about="' * (LONG // 11) + b"</rdf:RDF>",
    "settings": b"<addsr:settings>" * (LONG // 16),
    "zeros": bytes(LONG),
}


@pytest.mark.parametrize("packet", HOSTILE.values(), ids=HOSTILE)
def test_a_megabyte_of_anything_takes_a_tenth_of_a_second(packet):
    steps = (
        xmp.is_sound,
        xmp.orientation,
        xmp.upright,
        lambda each: xmp.resized(each, 160, 120),
        lambda each: xmp.with_settings(each, SETTINGS),
        lambda each: xmp.with_settings(each + b"</rdf:RDF>", SETTINGS),
        xmp.settings_in,
    )
    for step in steps:
        # timeit keeps garbage of other tests from being collected meanwhile
        assert timeit(partial(step, packet), timer=time.process_time, number=1) < 0.1


LAUGHS = b"""<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>"""


@pytest.mark.parametrize(
    "packet",
    [LAUGHS, b"no xml at all", PACKET[:-60], PACKET + b"more", b"", b"<a></b>", b"\xff<a/>"],
)
def test_invalid_xml_and_entity_declarations_are_rejected(packet):
    assert not xmp.is_sound(packet)


def test_packets_of_cameras_and_our_own_are_sound():
    assert xmp.is_sound(PACKET)
    assert xmp.is_sound(xmp.with_settings(PACKET, SETTINGS))


def test_other_descriptions_are_left_alone_when_ours_goes():
    mine = b'\n <rdf:Description rdf:about="" xmlns:addsr="x">a</rdf:Description>'
    other = (
        b'<rdf:Description rdf:about="" xmlns:dc="x">b</rdf:Description><rdf:Description dc:c="1"/>'
    )
    assert xmp._without_settings(other + mine + other + mine) == other + other
    nested = (
        b'<rdf:Description xmlns:addsr="x"><rdf:Description>c</rdf:Description></rdf:Description>'
    )
    assert xmp._without_settings(nested) == nested
