import re
from base64 import b64decode
from html import unescape
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms
from report.conftest import BLUE, RED, flat, pictures

from addsr_cli.errors import UsageError
from addsr_cli.imageio import Photo
from addsr_cli.report import Embedding, Page, Picture, compare_page, viewer_html

NASTY = "</script><script>alert(1)</script> \"'&<img src=x onerror=alert(2)> $title ünï"


def embedded(html: str) -> list[Image.Image]:
    return [
        Image.open(BytesIO(b64decode(data)))
        for data in re.findall(r"src=\"data:image/\w+;base64,([^\"]+)", html)
    ]


def noise(width: int, height: int, **more) -> Photo:
    rgb = np.random.default_rng(0).random((height, width, 3), np.float32)
    alpha = more.pop("alpha", None)
    samples = rgb if alpha is None else np.dstack([rgb, alpha])
    return Photo(samples=samples, **more)


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_the_page_asks_for_nothing_from_anywhere():
    html = compare_page(pictures(flat(RED), flat(BLUE)), "Title")
    assert not re.search(r"https?:|//\w+\.|@import|url\(", html)
    sources = [v for _, a in Tags(html).found for k, v in a.items() if k in ("src", "href")]
    assert len(sources) == 3
    assert all(source.startswith("data:") for source in sources)
    assert "default-src 'none'" in html


def test_labels_and_title_are_only_text():
    photos = [Picture(photo=flat(RED), label=NASTY), Picture(photo=flat(BLUE), label="b")]
    html = compare_page(photos, NASTY)
    tags = [tag for tag, _ in Tags(html).found]
    assert (tags.count("script"), tags.count("img")) == (1, 2)
    assert unescape(re.search("<title>(.*)</title>", html)[1]) == NASTY
    assert unescape(re.search('<span class="label">(.*?)</span>', html)[1]) == NASTY


def test_small_pictures_are_lossless_and_keep_their_size():
    small = noise(40, 30)
    first, second = embedded(viewer_html(pictures(small, flat(BLUE, (80, 60)))))
    assert (first.format, first.size, second.size) == ("PNG", (40, 30), (80, 60))
    assert np.array_equal(np.asarray(first), small.to_array(8))


def test_large_pictures_keep_full_colour_resolution():
    first, _ = embedded(viewer_html(pictures(noise(600, 600), noise(600, 600))))
    assert first.format == "JPEG"
    assert (
        first.layer[0][1:3] == first.layer[1][1:3] == (1, 1)
    )  # sampling factors of luma and chroma


def test_quality_makes_large_pictures_smaller():
    sizes = [
        len(viewer_html(pictures(*[noise(600, 600)] * 2), Embedding(quality=q))) for q in (60, 95)
    ]
    assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.parametrize("size", [(64, 48), (640, 480)])
def test_alpha_survives(size):
    alpha = np.zeros((size[1], size[0]), np.float32)
    alpha[: size[1] // 2] = 1
    first, _ = embedded(viewer_html(pictures(flat(RED, size, alpha=alpha), flat(BLUE, size))))
    bands = np.asarray(first.convert("RGBA"))
    assert (bands[0, 0, 3], bands[-1, 0, 3]) == (255, 0)


@pytest.mark.parametrize("size", [(64, 48), (640, 480)])
def test_the_colour_profile_travels_with_the_pixels(size):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    first, second = embedded(viewer_html(pictures(flat(RED, size, icc=icc), flat(RED, size))))
    assert first.info["icc_profile"] == icc
    assert "icc_profile" not in second.info


def test_sixteen_bits_become_eight():
    first, _ = embedded(viewer_html(pictures(flat(RED, bit_depth=16), flat(BLUE))))
    assert (first.mode, first.getpixel((0, 0))) == ("RGB", RED)


def test_metadata_stays_out_of_the_page():
    photo = flat(RED, xmp=b"<x:xmpmeta>secret</x:xmpmeta>", exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    first, _ = embedded(viewer_html(pictures(photo, flat(BLUE))))
    assert not {"xmp", "exif", "XML:com.adobe.xmp"} & first.info.keys()


def test_a_picture_beyond_the_longest_side_is_reduced_with_a_note():
    alpha = np.ones((60, 80), np.float32)
    html = viewer_html(pictures(noise(80, 60, alpha=alpha), noise(40, 30)), Embedding(max_side=50))
    assert [image.size for image in embedded(html)] == [(50, 38), (40, 30)]
    assert "80 &times; 60, reduced to 50 &times; 38" in html


def test_another_shape_is_refused_by_name():
    with pytest.raises(
        UsageError, match=r"picture 2 \(64x64\) has another shape than picture 1 \(640x480\)"
    ):
        viewer_html(pictures(flat(RED, (640, 480)), flat(BLUE, (64, 64))))


@pytest.mark.parametrize("size", [(101, 77), (1011, 761), (25, 19), (1, 1)])
def test_a_shape_within_two_percent_or_a_pixel_passes(size):
    assert viewer_html(pictures(flat(RED, (400, 300)), flat(BLUE, size)))


@pytest.mark.parametrize("count", [0, 1, 9])
def test_fewer_than_two_and_more_than_eight_are_refused(count):
    with pytest.raises(UsageError, match=f"{count} picture"):
        viewer_html(pictures(*[flat(RED)] * count))


@pytest.mark.parametrize(
    "wrong", [{"quality": 0}, {"quality": 101}, {"max_side": 8}, {"max_side": 20000}]
)
def test_impossible_embeddings_are_refused(wrong):
    with pytest.raises(UsageError):
        Embedding(**wrong)


def test_two_noisy_photos_of_1024_pixels_stay_under_five_megabytes():
    smooth = [noise(1024, 1024).rgb * 0.15 + 0.4 + i for i in (0, 0.1)]  # noisier than any photo
    assert len(compare_page(pictures(*[Photo(samples=rgb) for rgb in smooth]), "Title")) < 5e6


def test_several_viewers_share_one_script():
    viewer = viewer_html(pictures(flat(RED), flat(BLUE)))
    html = Page(title="Report", sections=["<h2>One</h2>", viewer, viewer]).html()
    assert (html.count("<script>"), html.count("<style>"), html.count('class="viewer"')) == (
        1,
        1,
        2,
    )
