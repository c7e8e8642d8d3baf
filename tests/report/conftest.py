"""Pictures to compare, and a headless Chromium to look at the pages in."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from addsr_cli.imageio import Photo
from addsr_cli.report import Picture, compare_page

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 40), (30, 40, 220), (100, 110, 120)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


def flat(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48), **more: object) -> Photo:
    """A photo of one colour; ``size`` is (width, height)."""
    rgb = np.full((size[1], size[0], 3), np.float32(colour) / np.float32(255), np.float32)
    return Photo(rgb=rgb, **more)


def pictures(*photos: Photo) -> list[Picture]:
    return [
        Picture(photo=photo, label=f"picture {number}") for number, photo in enumerate(photos, 1)
    ]


@dataclass
class Window:
    """A page that is open in a browser; coordinates are CSS pixels."""

    page: object
    density: float
    told: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def shot(self, **clip: float) -> np.ndarray:
        """What the screen, or the part x, y, width, height of it, shows: uint8 (H, W, 3) in device pixels."""
        self.settle()
        return np.asarray(
            Image.open(BytesIO(self.page.screenshot(clip=clip or None))).convert("RGB")
        )

    def colour(self, x: float, y: float) -> tuple[int, ...]:
        return tuple(self.shot(x=int(x), y=int(y), width=1, height=1)[0, 0].tolist())

    def is_at(self, x: float, y: float, colour: tuple[int, ...], tolerance: int = 6) -> bool:
        return bool(np.abs(np.subtract(self.colour(x, y), colour)).max() <= tolerance)

    def stage(self) -> dict[str, float]:
        """x, y, width, height of the area with the pictures."""
        return self.page.locator(".stage").bounding_box()

    def across(self, share: float, down: float = 0.25) -> tuple[float, float]:
        """A point of the stage by its shares of width and height."""
        box = self.stage()
        return box["x"] + share * box["width"], box["y"] + down * box["height"]

    def cut(self) -> int:
        """What the slider tells assistive technology, in percent."""
        self.settle()
        return int(self.page.locator(".divider").get_attribute("aria-valuenow"))

    def zoom(self) -> str:
        self.settle()
        return self.page.locator(".zoom").inner_text()

    def chosen(self) -> tuple[str, str]:
        """Labels of the pictures on the left and on the right."""
        self.settle()
        sides = self.page.locator(".side select")
        texts = [
            each.locator("option:checked").inner_text() for each in (sides.nth(0), sides.nth(1))
        ]
        return tuple(text.split(" · ")[0] for text in texts)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=4)
        self.page.mouse.up()


@pytest.fixture(scope="session")
def browser():
    """Chromium through Playwright, both of which must be installed apart."""
    driver = pytest.importorskip(
        "playwright.sync_api", reason="needs the browser extra: pip install -e '.[browser]'"
    )
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not program:
        pytest.skip("needs Chromium, as from: apt-get install chromium")
    with driver.sync_playwright() as play:
        started = play.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--force-color-profile=srgb"]
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def windows(browser) -> Callable[..., Window]:
    """One window for each kind of screen, since opening one takes longer than most tests."""
    made = {}

    def window(density: float, **more: object) -> Window:
        key = (density, *sorted(more.items()))
        if key not in made:
            page = browser.new_context(device_scale_factor=density, **more).new_page()
            made[key] = Window(page, density)
            page.on("console", lambda message: made[key].told.append(message.text))
            page.on("pageerror", lambda error: made[key].told.append(str(error)))
            page.on("request", lambda request: made[key].told.append(request.url[:80]))
        return made[key]

    return window


@pytest.fixture
def look(windows, tmp_path) -> Callable[..., Window]:
    """Open a page (or these photos) at a window size and density; afterwards nothing may have gone wrong in it."""
    opened = []

    def show(
        *photos: Photo, html: str = "", size=(800, 600), density: float = 1, **more: object
    ) -> Window:
        path = tmp_path / "page.html"
        path.write_text(html or compare_page(pictures(*photos), "Test"), encoding="utf-8")
        window = windows(density, **more)
        window.told.clear()
        window.page.set_viewport_size({"width": size[0], "height": size[1]})
        window.page.goto(path.as_uri())
        window.page.wait_for_function("() => !!document.querySelector('.divider').style.left")
        opened.append(window)
        return window

    yield show
    for window in opened:
        asked = [text for text in window.told if not text.startswith("data:")]
        assert asked == [
            window.page.url[:80]
        ]  # for itself and nothing else, and without a word on the console
