"""The page's application in this process, with nano and small photos."""

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs the serve extra: pip install -e '.[serve]'")

from starlette.testclient import TestClient

from addsr_cli.serve.access import Tokens
from addsr_cli.serve.limits import Limits
from addsr_cli.serve.page_session import Sessions
from addsr_cli.serve.photo_queue import PhotoQueue
from addsr_cli.serve.routes import make_app
from addsr_cli.serve.services import Services
from addsr_cli.serve.upscaling import Models
from addsr_cli.settings import Machine

ADDRESS = "http://127.0.0.1:8417"
QUICK = {"model": "nano", "scale": 2, "fidelity": 1}  # one step
LIMITS = Limits(photo_bytes=20_000, pixels=10_000, photos=3, sessions=2)


def photo_bytes(size=(24, 16), format="PNG", seed=0) -> bytes:
    """The file of a small photo with some structure."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8))
    file = BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(file, format)
    return file.getvalue()


class Browser:
    """One browser: its cookies, and short forms of the requests that the page makes."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str, **more):
        return self.client.get(path, **more)

    def post(self, path: str, json: object = None, **more):
        return self.client.post(path, json=json, **more)

    def state(self) -> dict:
        return self.get("/api/state").json()

    def add(self, name: str = "photo.png", data: bytes | None = None) -> dict:
        answer = self.client.post(
            "/api/photos", params={"name": name}, content=data or photo_bytes()
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def start(self, *photos: dict, **choices) -> None:
        ids = [photo["id"] for photo in photos]
        answer = self.post("/api/queue", {"photos": ids, "choices": QUICK | choices})
        assert answer.status_code == 200, answer.text

    def photo(self, photo: dict) -> dict:
        return next(each for each in self.state()["photos"] if each["id"] == photo["id"])

    def wait(self, photo: dict, *statuses: str) -> dict:
        """Wait until a photo has one of these states, and return its record."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            record = self.photo(photo)
            if record["status"] in statuses:
                return record
            time.sleep(0.01)
        raise AssertionError(f"still {record}")

    def upscaled(self, name: str = "photo.png", data: bytes | None = None, **choices) -> dict:
        """Add a photo, upscale it and return its record."""
        photo = self.add(name, data)
        self.start(photo, **choices)
        return self.wait(photo, "done")


class Clock:
    """A clock that tests turn by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def models() -> Models:
    return Models("nano", Machine(device="cpu", precision="fp32"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def page(models, tmp_path, clock):
    """Return a function that starts the application once; it has ``open`` for further browsers."""
    folder = tmp_path / ".temporary"
    folder.mkdir()
    running = []

    class Running:
        def __init__(self, output_folder=None, open_folder=lambda: None, limits=LIMITS) -> None:
            self.tokens = Tokens()
            self.folder = folder
            self.sessions = Sessions(folder, limits, clock)
            self.queue = PhotoQueue(models, output_folder)
            services = Services(
                limits=limits,
                sessions=self.sessions,
                queue=self.queue,
                open_folder=open_folder,
            )
            self.services = services
            self.app = make_app(services, self.tokens)
            self.clients = []
            running.append(self)

        def client(self) -> TestClient:
            client = TestClient(self.app, base_url=ADDRESS, raise_server_exceptions=True)
            self.clients.append(client.__enter__())
            return client

        def open(self) -> Browser:
            """Open the page in a new browser."""
            client = self.client()
            assert client.get("/", params={"token": self.tokens.lasting}).status_code == 200
            return Browser(client)

    yield Running
    for each in running:
        each.queue.close()
        for client in each.clients:
            client.__exit__(None, None, None)


@pytest.fixture
def browser(page) -> Browser:
    return page().open()


@pytest.fixture
def gate(models, monkeypatch) -> Callable[[], None]:
    """Hold photos, not previews, at the first tile until the returned function is called."""
    from threading import Event

    from addsr_cli.serve import photo_queue

    opened = Event()
    original = photo_queue.upscale_photo

    def upscale_photo(job, upscaler, on_progress):
        def slow(progress):
            for _ in range(6000):
                on_progress(progress)
                if opened.wait(0.01):
                    return

        return original(job, upscaler, slow)

    monkeypatch.setattr(photo_queue, "upscale_photo", upscale_photo)
    return opened.set


def run_async(coroutine):
    """Run a coroutine in a thread of its own; a browser under test may occupy this one's loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result(60)


def inline_scripts(html: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
