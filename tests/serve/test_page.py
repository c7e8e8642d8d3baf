# ruff: noqa: RUF001 (the page writes sizes with a multiplication sign)
"""The page in Chromium: what a person does, with mouse, finger and keyboard."""

import base64
import signal
import subprocess
import sys
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from zipfile import ZipFile

import numpy as np
import pytest
from one_pass_files import save_compact_file
from PIL import Image
from serve.conftest import photo_bytes

from addsr_cli.serve.limits import Limits
from addsr_cli.serve.server import serve_page
from addsr_cli.settings import Machine

PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
DROP = """([name, data, folder]) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  for (const kind of ["dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
  }
}"""


@contextmanager
def served(model):
    """Serve the page from a thread of this process."""
    page = serve_page(
        model=str(model),
        machine=Machine(device="cpu", precision="fp32"),
        port=0,
        output_folder=None,
        limits=Limits(photo_bytes=1_000_000),
    )
    with page as running:
        thread = Thread(target=running.run, daemon=True)
        thread.start()
        yield running
        running.server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that answers at once: most tests are about the page, not about the picture."""
    return save_compact_file(tmp_path_factory.mktemp("model") / "quick.pth", scale=4)


@pytest.fixture(scope="module")
def running(model, tmp_path_factory):
    """One server for all tests; every window has cookies, and so photos, of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADDSR_HOME", str(tmp_path_factory.mktemp("home")))
        with served(model) as page:
            yield page


@pytest.fixture
def window(chromium, running):
    """Return a function that opens the page; afterwards the console must be empty."""
    contexts, messages = [], []

    def open_window(context=None, url=running.url, **more):
        if context is None:
            context = chromium.new_context(**more)
            context.set_default_timeout(60_000)
            contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(url)
        page.locator("#model option").first.wait_for(state="attached")
        return page

    open_window.messages = messages
    yield open_window
    for context in contexts:
        context.close()
    assert messages == []


def add(page, *names, size=(48, 32)):
    """Choose photos, as with the button, and wait until they are in the list."""
    count = page.locator("#list li[data-status]").count()
    files = [
        {"name": name, "mimeType": "", "buffer": photo_bytes(size, seed=number)}
        for number, name in enumerate(names)
    ]
    page.set_input_files("#files", files)
    wait_for_count(page, "#list li[data-status]", count + len(names))


def wait_for_count(page, selector, count):
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_count(count, timeout=60_000)


def wait_for_status(page, status, count=1):
    wait_for_count(page, f"#list li[data-status={status}]", count)


def test_a_photo_is_dropped_previewed_upscaled_compared_and_saved(window):
    page = window()
    page.evaluate(DROP, ["cat.png", base64.b64encode(photo_bytes((48, 32))).decode(), ""])
    page.get_by_text("Preview of 48 × 32 pixels").wait_for()
    assert page.locator(".preview .viewer canvas").is_visible()
    page.get_by_role("button", name="Upscale 1 photo").click()
    page.get_by_text("cat_x4.png: 192 × 128").wait_for()
    slider = page.locator(".result").get_by_role("slider", name="Divider")
    slider.focus()
    for key, label in (("Home", "0 %"), ("End", "100 %")):
        page.keyboard.press(key)
        page.locator(f".result .divider[aria-valuetext^='{label}']").wait_for()
    page.locator(".result").get_by_role("button", name="Difference").click()
    stage = page.locator(".result .stage").screenshot()
    assert np.asarray(Image.open(BytesIO(stage)).convert("RGB")).std() > 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the result of cat.png").click()
    assert download.value.suggested_filename == "cat_x4.png"
    assert Image.open(BytesIO(Path(download.value.path()).read_bytes())).size == (192, 128)


def test_several_photos_are_saved_as_one_archive(window):
    page = window()
    add(page, "one.png", "two.png")
    page.get_by_role("button", name="Upscale 2 photos").click()
    wait_for_status(page, "done", 2)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save all 2").click()
    archive = ZipFile(Path(download.value.path()))
    assert sorted(archive.namelist()) == ["one_x4.png", "two_x4.png"]


def test_the_choices_reach_the_result(window):
    page = window()
    add(page, "photo.png")
    page.get_by_label("Model").select_option("nano")
    page.get_by_text("2×", exact=True).click()
    page.get_by_label("File type").select_option("WebP")
    page.get_by_role("slider", name="Fidelity").fill("1")
    assert page.get_by_text("48 × 32 → 96 × 64 pixels").is_visible()
    page.locator("#start").click()
    page.get_by_text("photo_x2.webp: 96 × 64").wait_for()
    assert "nano, 1 step" in page.locator("#result-facts").inner_text()


def test_two_tabs_show_the_same_photos(window):
    first = window()
    second = window(context=first.context)
    add(first, "photo.png")
    wait_for_status(second, "ready")
    second.locator("#start").click()
    wait_for_status(first, "done")
    first.get_by_role("button", name="Remove photo.png").click()
    wait_for_status(second, "done", 0)
    assert second.get_by_text("Drop photos here").is_visible()


def test_a_photo_is_cancelled_and_started_again(window, gate):
    page = window()
    add(page, "photo.png", "next.png")
    page.locator("#start").click()
    wait_for_status(page, "running")
    page.get_by_role("button", name="Cancel photo.png").click()
    wait_for_status(page, "cancelled")
    page.get_by_role("button", name="Cancel all").click()
    wait_for_status(page, "cancelled", 2)
    gate()
    page.get_by_role("button", name="Upscale 2 photos").click()
    wait_for_status(page, "done", 2)


def test_the_page_says_that_the_server_is_gone(window, model):
    with served(model) as ending:
        page = window(url=ending.url)
    page.get_by_text("addsr does not answer").wait_for()
    window.messages.clear()  # Chromium notes the lost connection


@pytest.fixture
def server_process(tmp_path):
    """Return a function that runs ``addsr serve`` as a process; it returns that and the address."""
    processes = []

    def start(port):
        command = [sys.executable, "-m", "addsr_cli", "serve", "--no-open", "--port", str(port)]
        process = subprocess.Popen([*command, "--model", "nano"], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_a_killed_server_is_noticed_and_leaves_no_photo_once_it_runs_again(
    chromium, server_process, home
):
    process, url = server_process(0)
    context = chromium.new_context()
    page = context.new_page()
    page.goto(url)
    page.locator("#model option").first.wait_for(state="attached")
    add(page, "photo.png")
    photos = list(home.rglob("original.png"))
    assert len(photos) == 1
    process.kill()
    page.get_by_text("addsr does not answer").wait_for(timeout=60_000)
    process, url = server_process(urlsplit(url).port)
    page.get_by_text("This page is no longer valid").wait_for(timeout=60_000)
    assert not photos[0].exists()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert list((home / "addsr_home" / "serve").iterdir()) == []
    context.close()


def test_a_frame_is_dragged_and_moved_by_keys(window):
    page = window()
    add(page, "wide.png", size=(640, 480))
    frame = page.locator("#frame")
    page.get_by_text("Preview of").wait_for()
    sent = []
    page.on("request", lambda request: sent.append(request.post_data_json))
    box = frame.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 400, middle[1], steps=3)
    page.mouse.up()
    page.wait_for_timeout(400)
    frame.press("Shift+ArrowRight")
    page.wait_for_timeout(400)
    lefts = [request["crop"]["left"] for request in sent]
    assert lefts == [0, sent[0]["crop"]["width"]]
    assert "from the left" in page.locator("#spoken").inner_text()


def test_everything_works_by_keyboard(window):
    page = window()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Choose photos"
        page.keyboard.press("Enter")
    chooser.value.set_files(
        [{"name": "photo.png", "mimeType": "image/png", "buffer": photo_bytes((48, 32))}]
    )
    page.get_by_text("Preview of").wait_for()
    reached = [page.evaluate("document.activeElement.className")]
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className"
                " || document.activeElement.name"
            )
        )
        if reached[-1] == "start":
            break
    assert {"pick", "frame", "divider", "model", "scale", "fidelity", "format"} <= set(reached)
    page.keyboard.press("Enter")
    wait_for_status(page, "done")
    assert "photo.png: done" in page.locator("#spoken").inner_text()
    page.locator(".remove").press("Enter")
    page.get_by_text("Drop photos here").wait_for()


def test_every_control_has_a_name(window):
    page = window()
    add(page, "photo.png")
    page.get_by_text("Preview of").wait_for()
    tree = page.locator("body").aria_snapshot()
    nameless = [line for line in tree.splitlines() if line.strip() in NAMELESS]
    assert nameless == []


NAMELESS = {f"- {role}" for role in ("button", "link", "combobox", "slider", "radio", "textbox")}


def test_a_script_in_a_file_name_is_inert(window):
    page = window()
    page.on("dialog", lambda dialog: pytest.fail("the script ran"))
    add(page, "<img src=x onerror=alert(1)>.png", "<script>alert(1)</script>")
    page.locator("#start").click()
    wait_for_status(page, "done", 2)
    page.wait_for_timeout(200)
    assert page.locator("#list script, #list img[src=x]").count() == 0
    assert page.evaluate("document.querySelectorAll('script').length") == 1


def test_what_cannot_be_read_is_named_with_its_reason(window):
    page = window()
    page.set_input_files("#files", [{"name": "scan.pdf", "mimeType": "", "buffer": b"%PDF-1.7 x"}])
    page.get_by_text("'scan.pdf' is a PDF document").wait_for()
    page.get_by_role("button", name="Close this message").click()
    assert page.locator("#messages li").count() == 0
    window.messages.clear()  # Chromium notes the refusal


def test_a_file_above_the_limit_is_not_even_sent(window):
    page = window()
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    page.set_input_files(
        "#files", [{"name": "huge.png", "mimeType": "", "buffer": bytes(1_000_001)}]
    )
    page.get_by_text("huge.png is larger than 1.0\u00a0MB").wait_for()
    assert sent == []


def test_everything_is_within_a_screen_of_390_pixels(window):
    page = window(**PHONE)
    check_width(page)
    add(page, "a-rather-long-name-of-a-photo-from-the-holidays.png", "b.png")
    page.get_by_text("Preview of").wait_for()
    check_width(page)
    page.locator("#start").tap()
    wait_for_status(page, "done", 2)
    page.locator(".result").wait_for()
    check_width(page)


def check_width(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for control in page.locator("button:visible, select:visible, input:visible, a:visible").all():
        box = control.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390, control.inner_text()


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_the_page_follows_light_and_dark(window, scheme, bright):
    page = window(color_scheme=scheme)
    shot = page.screenshot(clip={"x": 5, "y": 5, "width": 4, "height": 4}, style="")
    assert bool(np.asarray(Image.open(BytesIO(shot)).convert("L")).mean() > 200) is bright
