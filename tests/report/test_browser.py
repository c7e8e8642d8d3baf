"""The page in Chromium: mouse, keyboard and touch on one side, pixels on the other."""

import numpy as np
import pytest
from PIL import ImageCms
from report.conftest import BLUE, GREEN, GREY, RED, flat, pictures

from addsr_cli.imageio import Photo
from addsr_cli.report import Page, viewer_html

PHONE = {"size": (390, 844), "density": 2, "has_touch": True, "is_mobile": True}


def halves(size=(320, 240)) -> Photo:
    """Left half green, right half grey."""
    photo = flat(GREEN, size)
    photo.samples[:, size[0] // 2 :] = np.float32(GREY) / np.float32(255)
    return photo


def stripes(size: tuple[int, int]) -> Photo:
    """Columns of one pixel, black and white."""
    photo = flat((0, 0, 0), size)
    photo.samples[:, ::2] = 1
    return photo


def test_the_left_of_the_divider_is_the_first_picture_and_the_right_the_last(open_page):
    window = open_page(flat(RED), flat(GREEN), flat(BLUE))
    assert window.is_at(*window.across(0.4), RED)
    assert window.is_at(*window.across(0.6), BLUE)


def test_dragging_the_divider_uncovers_the_other_picture(open_page):
    window = open_page(flat(RED), flat(BLUE))
    window.drag(window.across(0.5, 0.5), window.across(0.25, 0.5))
    assert window.is_at(*window.across(0.3), BLUE)
    assert window.is_at(*window.across(0.2), RED)
    window.drag(window.across(0.25, 0.6), window.across(0.8, 0.6))
    assert window.is_at(*window.across(0.75), RED)


def test_the_divider_stands_where_the_colours_meet(open_page):
    window = open_page(flat(RED), flat(BLUE))
    window.drag(window.across(0.5, 0.5), window.across(0.371, 0.5))
    box = window.page.locator(".divider").bounding_box()
    x, y = box["x"] + box["width"] / 2, window.across(0, 0.25)[1]
    assert window.is_at(x - 3, y, RED)
    assert window.is_at(x + 3, y, BLUE)


def test_the_slider_speaks_and_takes_every_key_of_its_role(open_page):
    window = open_page(flat(RED), flat(BLUE))
    slider = window.page.get_by_role("slider", name="Divider")
    slider.focus()
    assert "picture 1" in slider.get_attribute("aria-valuetext")
    seen = [window.cut()]
    for key in (
        "ArrowRight",
        "ArrowUp",
        "ArrowLeft",
        "ArrowDown",
        "PageUp",
        "PageDown",
        "Home",
        "End",
    ):
        window.press(key)
        seen.append(window.cut())
    assert seen == [50, 52, 54, 52, 50, 60, 50, 0, 100]


def test_tab_reaches_the_slider_and_the_choice_of_pictures(open_page):
    window = open_page(flat(RED), flat(BLUE))
    reached = []
    for _ in range(3):
        window.press("Tab")
        reached.append(
            window.page.evaluate(
                "document.activeElement.className || document.activeElement.tagName"
            )
        )
    assert reached == ["divider", "SELECT", "SELECT"]


def test_the_wheel_zooms_both_pictures_about_the_pointer(open_page):
    window = open_page(halves(), halves())
    window.press("s")
    edges = [
        window.across(share, 0.5) for share in (0.25, 0.75)
    ]  # where green meets grey in each of the two
    for x, y in edges:
        assert window.is_at(x - 8, y, GREEN)
        assert window.is_at(x + 8, y, GREY)
    before = window.zoom()
    window.page.mouse.move(edges[0][0] - 80, edges[0][1])
    window.page.mouse.wheel(0, -300)
    assert window.zoom() != before
    moved = 80 * (np.exp(0.6) - 1)  # the pointer's own pixel stays, so the edge moves away from it
    for x, y in edges:
        assert window.is_at(x + moved - 8, y, GREEN)
        assert window.is_at(x + moved + 8, y, GREY)


def test_dragging_pans_all_pictures_alike(open_page):
    window = open_page(halves(), halves())
    window.press("s", "+", "+", "+", "+")
    start = window.across(0.3, 0.6)
    window.drag(start, (start[0] - 50, start[1]))
    for share in (0.25, 0.75):
        x, y = window.across(share, 0.5)
        assert window.is_at(x - 58, y, GREEN)
        assert window.is_at(x - 42, y, GREY)


def test_arrows_pan_where_there_is_no_divider_to_move(open_page):
    window = open_page(halves(), halves())
    window.press("d", ",", ",", "+", "+", "+", "s", "ArrowRight")
    x, y = window.across(0.25, 0.5)
    assert window.is_at(x - 68, y, GREEN)
    assert window.is_at(x - 52, y, GREY)


@pytest.mark.parametrize("density", [1, 2, 3])
def test_one_hundred_percent_is_one_pixel_on_one_pixel(open_page, density):
    window = open_page(stripes((1001, 701)), stripes((1001, 701)), density=density, size=(500, 400))
    window.press("1", "Home")
    assert window.zoom() == "100 %"
    x, y = (round(v * density) for v in window.across(0.5, 0.5))
    row = window.shot()[y, x : x + 40, 0].astype(int)
    assert np.abs(np.diff(row)).min() > 240  # JPEG leaves some levels


def test_a_click_moves_nothing_and_a_double_click_goes_to_true_pixels_and_back(open_page):
    window = open_page(flat(RED, (1200, 900)), flat(BLUE, (1200, 900)))
    fitted = window.zoom()
    window.page.mouse.click(*window.across(0.3))
    assert (window.cut(), window.zoom()) == (50, fitted)
    window.press("ArrowUp")  # the click gave the divider the focus, where up means more
    assert window.cut() == 52
    window.page.mouse.dblclick(*window.across(0.3))
    assert window.zoom() == "100 %"
    window.page.mouse.dblclick(*window.across(0.3))
    assert window.zoom() == fitted


def test_a_divider_taken_off_its_middle_does_not_jump(open_page):
    window = open_page(flat(RED), flat(BLUE))
    x, y = window.across(0.5, 0.5)
    window.drag((x - 15, y), (x - 14, y))
    assert window.cut() == 50


def test_fit_shows_the_whole_picture_and_keeps_fitting(open_page):
    window = open_page(flat(RED, (400, 300)), flat(BLUE, (400, 300)))
    window.press("1", "+", "0", "End")
    window.page.set_viewport_size({"width": 500, "height": 700})
    box = window.stage()
    top = box["y"] + (box["height"] - box["width"] * 0.75) / 2
    x = box["x"] + 10
    assert window.is_at(x, top + 4, RED)
    assert not window.is_at(x, top - 4, RED)


def test_a_small_picture_fills_the_frame_of_a_large_one(open_page):
    window = open_page(halves((16, 12)), halves((320, 240)))
    for key in ("Home", "End"):
        window.press(key)
        x, y = window.across(0.5)
        assert window.is_at(x - 30, y, GREEN)
        assert window.is_at(x + 30, y, GREY)


def test_pixels_are_smooth_until_asked_for_squares(open_page):
    window = open_page(halves((16, 12)), halves((320, 240)))
    window.press("End")
    x, y = (round(v) for v in window.across(0.5))
    mixed = [len(np.unique(window.shot()[y, x - 20 : x + 20], axis=0))]
    window.press("p")
    mixed.append(len(np.unique(window.shot()[y, x - 20 : x + 20], axis=0)))
    assert mixed[0] > 10
    assert mixed[1] == 2


def test_the_difference_is_exact_and_can_be_amplified(open_page):
    window = open_page(flat((100, 110, 120)), flat((104, 107, 120)))
    window.press("d")
    point = window.across(0.5)
    assert window.colour(*point) == (16, 12, 0)  # four times, to begin with
    window.press(",", ",")
    assert window.colour(*point) == (4, 3, 0)
    window.press(*["."] * 6)
    assert window.colour(*point) == (255, 192, 0)
    window.press("d")
    assert window.is_at(*window.across(0.4), (100, 110, 120), 0)


def test_equal_half_transparent_pictures_do_not_differ(open_page):
    alpha = np.full((48, 64), 0.5, np.float32)
    window = open_page(flat(RED, alpha=alpha), flat(RED, alpha=alpha))
    window.press("d", *["."] * 4)
    assert window.is_at(*window.across(0.5), (0, 0, 0), 0)


def test_transparency_lies_on_a_checkerboard(open_page):
    window = open_page(flat(RED, alpha=np.zeros((48, 64), np.float32)), flat(BLUE))
    x, y = (round(v) for v in window.across(0.3))
    seen = {tuple(c) for c in window.shot()[y : y + 40, x : x + 40].reshape(-1, 3).tolist()}
    assert seen == {(255, 255, 255), (204, 204, 204)}


def test_colours_of_a_profile_are_shown_right(open_page):
    """Use a profile with swapped primaries, which shows at once whether it is honoured."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    table = {
        bytes(icc[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i
        for i in range(int.from_bytes(icc[128:132], "big"))
    }
    red, blue = table[b"rXYZ"], table[b"bXYZ"]
    icc[red + 4 : red + 12], icc[blue + 4 : blue + 12] = (
        icc[blue + 4 : blue + 12],
        icc[red + 4 : red + 12],
    )
    window = open_page(flat((255, 0, 0), icc=bytes(icc)), flat(GREEN))
    assert window.is_at(*window.across(0.4), (0, 0, 255), 12)


def test_keys_choose_among_eight_pictures(open_page):
    shades = [(20 + 28 * i, 128, 255 - 28 * i) for i in range(8)]
    window = open_page(*[flat(shade) for shade in shades])
    assert window.chosen() == ("picture 1", "picture 8")
    window.press("Shift+Digit3")
    assert window.chosen() == ("picture 1", "picture 3")
    assert window.is_at(*window.across(0.6), shades[2])
    window.press("l")
    assert window.chosen() == ("picture 2", "picture 3")
    window.press("l")
    assert window.chosen() == ("picture 4", "picture 3")
    window.press("x", "r")
    assert window.chosen() == ("picture 3", "picture 5")
    window.press("Shift+Digit3")
    assert window.chosen() == ("picture 5", "picture 3")
    window.page.get_by_label("Left picture").select_option("7")
    assert window.is_at(*window.across(0.4), shades[7])


def test_side_by_side_shows_all_eight_with_their_names(open_page):
    shades = [(20 + 28 * i, 128, 255 - 28 * i) for i in range(8)]
    window = open_page(*[flat(shade) for shade in shades])
    window.page.get_by_role("button", name="Side by side").click()
    picture = window.shot()
    for i, name in enumerate(window.page.locator(".names li").all()):
        box = name.bounding_box()
        assert name.inner_text().startswith(f"picture {i + 1} ")
        below = picture[round(box["y"] + box["height"] + 5), round(box["x"] + 5)]
        assert np.abs(below.astype(int) - shades[i]).max() <= 6


def test_a_finger_moves_the_divider_and_two_fingers_zoom(open_page):
    window = open_page(flat(RED), flat(BLUE), **PHONE)
    touch = window.page.context.new_cdp_session(window.page)

    def fingers(kind, *points):
        spots = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    fingers("touchStart", window.across(0.5, 0.5))
    for share in (0.45, 0.4, 0.3, 0.2):
        fingers("touchMove", window.across(share, 0.5))
    fingers("touchEnd")
    assert window.is_at(*window.across(0.25, 0.45), BLUE)
    assert window.is_at(*window.across(0.15, 0.45), RED)
    fitted = float(window.zoom().split()[0])
    fingers("touchStart", window.across(0.4, 0.5), window.across(0.6, 0.5))
    for spread in (0.15, 0.2, 0.3):
        fingers("touchMove", window.across(0.5 - spread, 0.5), window.across(0.5 + spread, 0.5))
    fingers("touchEnd")
    assert window.cut() == 20
    assert float(window.zoom().split()[0]) == pytest.approx(3 * fitted, rel=0.02)


@pytest.mark.parametrize("size", [(390, 844), (320, 568), (844, 390)])
def test_everything_is_within_the_screen_of_a_phone(open_page, size):
    window = open_page(*[flat(RED)] * 8, **PHONE | {"size": size})
    window.press("d")
    window.wait_for_paint()
    assert window.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    for control in window.page.locator("button:visible, select:visible, input:visible").all():
        box = control.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]
    assert window.stage()["height"] > 0.45 * size[1]


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_the_page_follows_light_and_dark(open_page, scheme, bright):
    window = open_page(flat(RED), flat(BLUE), color_scheme=scheme)
    assert (sum(window.colour(400, 4)) > 600) is bright


def test_help_opens_by_key_and_closes_by_escape(open_page):
    window = open_page(flat(RED), flat(BLUE))
    window.press("?")
    help_ = window.page.locator("dialog.help")
    assert help_.is_visible()
    window.press("ArrowRight", "Escape")
    assert not help_.is_visible()
    assert window.cut() == 50


def test_without_scripts_the_pictures_stand_side_by_side(chromium, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        Page(
            title="t", sections=[viewer_html(pictures(flat(RED), flat(BLUE)))], fills_window=True
        ).html()
    )
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("figure:visible").count() == 2
    assert not page.locator(".tools").is_visible()
    context.close()


def test_viewers_in_a_longer_page_work_apart_and_let_it_scroll(open_page):
    viewers = [
        viewer_html(pictures(flat(RED), flat(BLUE))),
        viewer_html(pictures(flat(GREEN), flat(GREY))),
    ]
    window = open_page(html=Page(title="Report", sections=viewers).html())
    window.page.mouse.move(*window_middle(window, 0))
    window.page.mouse.wheel(0, 120)
    window.page.wait_for_function("() => scrollY > 0")
    first, second = (window.page.locator(".divider").nth(i) for i in (0, 1))
    second.focus()
    window.press("End")
    window.wait_for_paint()
    assert (first.get_attribute("aria-valuenow"), second.get_attribute("aria-valuenow")) == (
        "50",
        "100",
    )


def window_middle(window, number):
    box = window.page.locator(".stage").nth(number).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 4
