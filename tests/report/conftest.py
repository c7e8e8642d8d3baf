"""Pictures to compare, and a headless Chromium that opens the pages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from addsr_cli.imageio import Photo
from addsr_cli.report import Picture, compare_page

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 40), (30, 40, 220), (100, 110, 120)


def flat(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48), **more: object) -> Photo:
    """A photo of one colour; ``size`` is (width, height)."""
    rgb = np.full((size[1], size[0], 3), np.float32(colour) / np.float32(255), np.float32)
    alpha = more.pop("alpha", None)
    samples = rgb if alpha is None else np.dstack([rgb, alpha])
    return Photo(samples=samples, **more)


def pictures(*photos: Photo) -> list[Picture]:
    return [
        Picture(photo=photo, label=f"picture {number}") for number, photo in enumerate(photos, 1)
    ]


@dataclass
class Window:
    """A page that is open in a browser; coordinates are CSS pixels."""

    page: object
    density: float
    events: list[str] = field(default_factory=list)  # requests, errors and console messages

    def wait_for_paint(self) -> None:
        """Wait until the browser has painted."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def shot(self, **clip: float) -> np.ndarray:
        """Return the screen, or its part x, y, width, height: uint8 (H, W, 3), device pixels."""
        self.wait_for_paint()
        return np.asarray(
            Image.open(BytesIO(self.page.screenshot(clip=clip or None))).convert("RGB")
        )

    def colour(self, x: float, y: float) -> tuple[int, ...]:
        return tuple(self.shot(x=int(x), y=int(y), width=1, height=1)[0, 0].tolist())

    def is_at(self, x: float, y: float, colour: tuple[int, ...], tolerance: int = 6) -> bool:
        return bool(np.abs(np.subtract(self.colour(x, y), colour)).max() <= tolerance)

    def stage(self) -> dict[str, float]:
        """Return x, y, width and height of the area with the pictures."""
        return self.page.locator(".stage").bounding_box()

    def across(self, share: float, down: float = 0.25) -> tuple[float, float]:
        """Return the point of the stage at these shares of its width and height."""
        box = self.stage()
        return box["x"] + share * box["width"], box["y"] + down * box["height"]

    def cut(self) -> int:
        """Return the value of the slider for assistive technology, in percent."""
        self.wait_for_paint()
        return int(self.page.locator(".divider").get_attribute("aria-valuenow"))

    def zoom(self) -> str:
        self.wait_for_paint()
        return self.page.locator(".zoom").inner_text()

    def chosen(self) -> tuple[str, str]:
        """Return the labels of the pictures on the left and on the right."""
        self.wait_for_paint()
        sides = self.page.locator(".side select")
        texts = [
            side.locator("option:checked").inner_text() for side in (sides.nth(0), sides.nth(1))
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
def windows(chromium) -> Callable[..., Window]:
    """Return a function that opens one window per kind of screen; opening takes a while."""
    opened = {}

    def window(density: float, **more: object) -> Window:
        key = (density, *sorted(more.items()))
        if key not in opened:
            page = chromium.new_context(device_scale_factor=density, **more).new_page()
            opened[key] = Window(page, density)
            page.on("console", lambda message: opened[key].events.append(message.text))
            page.on("pageerror", lambda error: opened[key].events.append(str(error)))
            page.on("request", lambda request: opened[key].events.append(request.url[:80]))
        return opened[key]

    return window


@pytest.fixture
def open_page(windows, tmp_path) -> Callable[..., Window]:
    """Return a function that opens a page, or photos; afterwards it must have raised no events."""
    opened = []

    def show(
        *photos: Photo, html: str = "", size=(800, 600), density: float = 1, **more: object
    ) -> Window:
        path = tmp_path / "page.html"
        path.write_text(html or compare_page(pictures(*photos), "Test"), encoding="utf-8")
        window = windows(density, **more)
        window.events.clear()
        window.page.set_viewport_size({"width": size[0], "height": size[1]})
        window.page.goto(path.as_uri())
        window.page.wait_for_function("() => !!document.querySelector('.divider').style.left")
        opened.append(window)
        return window

    yield show
    for window in opened:
        events = [text for text in window.events if not text.startswith("data:")]
        # One request, for the page itself, and no message on the console
        assert events == [window.page.url[:80]]
