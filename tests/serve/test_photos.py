"""From an upload to a result: the same file as the command line's, cancelled, shared, forgotten."""

import gc
import time
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from serve.conftest import LIMITS, QUICK, photo_bytes

from addsr_cli.cli.app import run
from addsr_cli.serve.limits import Limits


def test_the_result_is_the_file_that_the_command_line_writes(browser, tmp_path):
    data = photo_bytes(format="JPEG")
    Path("photo.jpg").write_bytes(data)
    record = browser.upscaled("photo.jpg", data, model="nano", scale=2, fidelity=1)
    options = ["--model", "nano", "--scale", "2", "--fidelity", "1", "-q"]
    machine = ["--device", "cpu", "--precision", "fp32"]
    assert run(["upscale", "photo.jpg", *options, *machine]) == 0
    answer = browser.get(f"/api/photos/{record['id']}/result")
    assert 'filename="photo_x2.jpg"' in answer.headers["content-disposition"]
    assert answer.content == Path("photo_x2.jpg").read_bytes()


def test_a_result_says_what_it_is(browser):
    record = browser.upscaled(format="webp")
    assert record["output"]["name"] == "photo_x2.webp"
    assert record["output"]["size"] == [48, 32]
    assert record["output"]["model"] == "nano"
    assert record["output"]["steps"] == 1
    shown = browser.get(f"/api/photos/{record['id']}/after")
    assert shown.headers["content-type"] == "image/webp"
    assert Image.open(BytesIO(shown.content)).size == (48, 32)


def test_a_result_comes_with_a_map_of_what_it_invented(browser):
    record = browser.upscaled()
    assert 0 <= record["output"]["invented"] < 100
    shown = browser.get(f"/api/photos/{record['id']}/trust")
    assert Image.open(BytesIO(shown.content)).size == (12, 8)


def test_formats_that_browsers_do_not_show_get_a_copy_that_they_do(browser):
    record = browser.upscaled(format="tiff")
    shown = browser.get(f"/api/photos/{record['id']}/after")
    assert shown.headers["content-type"] == "image/png"
    assert record["output"]["name"] == "photo_x2.tif"


@pytest.mark.parametrize("copy", ["thumb", "photo", "before"])
def test_copies_are_upright_pictures_for_browsers(browser, copy):
    image = Image.open(BytesIO(photo_bytes()))
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    file = BytesIO()
    image.save(file, "TIFF", exif=exif)
    photo = browser.add("scan.tif", file.getvalue())
    assert photo["size"] == [16, 24]
    answer = browser.get(f"/api/photos/{photo['id']}/{copy}")
    assert answer.headers["content-type"] in ("image/png", "image/jpeg")
    assert Image.open(BytesIO(answer.content)).size == (16, 24)


def test_a_large_copy_is_made_only_to_compare_with_a_result(page):
    running = page(limits=Limits(photo_bytes=10**6))
    browser = running.open()
    photo = browser.add("wide.jpg", photo_bytes((2000, 40), "JPEG"))
    sizes = {}
    for copy in ("thumb", "photo"):
        data = browser.get(f"/api/photos/{photo['id']}/{copy}").content
        sizes[copy] = Image.open(BytesIO(data)).size
    assert sizes == {"thumb": (256, 5), "photo": (1600, 32)}
    folder = next(running.folder.rglob("original.*")).parent
    assert not (folder / "before").exists()
    data = browser.get(f"/api/photos/{photo['id']}/before").content
    assert Image.open(BytesIO(data)).size == (2000, 40)


def test_a_decoded_photo_is_remembered_only_while_it_is_on_the_page(page):
    running = page()
    browser = running.open()
    photo = browser.add()
    crop = {"left": 0, "top": 0, "width": 8, "height": 8}
    body = {"photo": photo["id"], "crop": crop, "choices": QUICK}
    assert "after" in browser.post("/api/preview", body).json()
    assert len(running.queue._decoded) == 1
    browser.client.delete(f"/api/photos/{photo['id']}")
    running.sessions.expire()
    deadline = time.monotonic() + 10
    while running.queue._decoded and time.monotonic() < deadline:
        gc.collect()
    assert len(running.queue._decoded) == 0


def test_a_damaged_photo_fails_with_a_sentence_and_the_next_one_runs(browser):
    damaged = browser.add("broken.png", photo_bytes()[:150])
    good = browser.add()
    browser.start(damaged, good)
    record = browser.wait(damaged, "failed")
    assert record["error"]["message"].startswith("'broken.png' is damaged")
    assert browser.wait(good, "done")["output"]


def test_a_photo_without_a_result_has_nothing_to_download(browser):
    photo = browser.add()
    assert browser.get(f"/api/photos/{photo['id']}/result").status_code == 422
    assert browser.get("/api/results.zip").status_code == 409


def test_all_results_come_in_one_archive_with_names_of_their_own(browser):
    records = [browser.upscaled(data=photo_bytes(seed=seed)) for seed in (1, 2)]
    archive = ZipFile(BytesIO(browser.get("/api/results.zip").content))
    assert archive.namelist() == ["photo_x2.png", "photo_x2 (2).png"]
    for name, record in zip(archive.namelist(), records, strict=True):
        assert archive.read(name) == browser.get(f"/api/photos/{record['id']}/result").content


def test_a_running_photo_is_cancelled_and_can_be_started_again(browser, gate):
    photo = browser.add()
    browser.start(photo)
    browser.wait(photo, "running")
    browser.post("/api/cancel", {"photos": [photo["id"]]})
    assert browser.wait(photo, "cancelled")["output"] is None
    gate()
    browser.start(photo)
    assert browser.wait(photo, "done")["output"]


def test_a_waiting_photo_is_cancelled_at_once(browser, gate):
    first, second = browser.add(), browser.add()
    browser.start(first, second)
    browser.wait(first, "running")
    browser.post("/api/cancel", {"photos": [second["id"]]})
    assert browser.photo(second)["status"] == "cancelled"
    assert browser.state()["queue"]["active"] == 1
    gate()
    browser.wait(first, "done")


def test_progress_and_the_time_left_are_told(browser, gate):
    first = browser.add()
    browser.start(first)
    browser.wait(first, "running")
    while not (record := browser.photo(first))["total"]:
        pass
    assert record["done"] <= record["total"]
    assert record["seconds_left"] is not None
    assert browser.state()["queue"]["seconds_left"] == pytest.approx(
        browser.photo(first)["seconds_left"], abs=1
    )
    gate()
    browser.wait(first, "done")


def test_a_removed_photo_leaves_no_file_even_while_it_runs(page, gate):
    running = page()
    browser = running.open()
    photo = browser.add()
    browser.start(photo)
    browser.wait(photo, "running")
    assert browser.client.delete(f"/api/photos/{photo['id']}").status_code == 204
    assert browser.state()["photos"] == []
    gate()
    other = browser.upscaled()  # after it, the removed one has surely ended
    folders = {path.parent.name for path in running.folder.rglob("*") if path.is_file()}
    assert folders == {other["id"]}


def test_results_go_to_the_folder_of_the_user_and_replace_nothing(page, tmp_path):
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "photo_x2.png").write_text("mine")
    browser = page(output_folder=folder).open()
    record = browser.upscaled()
    assert record["output"]["name"] == "photo_x2 (2).png"
    assert record["output"]["saved"]
    assert (folder / "photo_x2.png").read_text() == "mine"
    with Image.open(folder / "photo_x2 (2).png") as written:
        assert written.size == (48, 32)
    browser.client.delete(f"/api/photos/{record['id']}")
    assert (folder / "photo_x2 (2).png").exists()


def test_only_the_folder_of_the_user_is_opened(page, tmp_path):
    opened = []
    browser = page(output_folder=tmp_path, open_folder=lambda: opened.append(1)).open()
    body = {"folder": "/etc"}
    assert browser.post("/api/open-folder", body).status_code == 204
    assert opened == [1]


def test_two_tabs_share_their_photos_and_two_browsers_do_not(page):
    running = page()
    browser = running.open()
    photo = browser.upscaled()
    tab = browser.client.get("/", params={"token": running.tokens.lasting})
    assert "set-cookie" not in tab.headers
    other = running.open()
    assert other.state()["photos"] == []
    for what in ("before", "after", "result"):
        assert browser.get(f"/api/photos/{photo['id']}/{what}").status_code == 200
        assert other.get(f"/api/photos/{photo['id']}/{what}").status_code == 422
    assert other.client.delete(f"/api/photos/{photo['id']}").status_code == 422


def test_a_browser_that_is_idle_for_long_is_forgotten_with_its_photos(page, clock):
    running = page()
    browser = running.open()
    browser.upscaled()
    clock.now = LIMITS.idle_seconds - 1
    running.sessions.expire()
    assert len(browser.state()["photos"]) == 1
    clock.now *= 3
    running.sessions.expire()
    assert browser.get("/api/state").status_code == 403
    assert list(running.folder.iterdir()) == []


def test_a_browser_with_a_photo_in_the_queue_is_not_forgotten(page, clock, gate):
    running = page()
    browser = running.open()
    photo = browser.add()
    browser.start(photo)
    browser.wait(photo, "running")
    clock.now = 10 * LIMITS.idle_seconds
    running.sessions.expire()
    gate()
    assert browser.wait(photo, "done")


def test_the_browser_that_is_idle_longest_makes_room_for_another(page, clock):
    running = page()
    browsers = []
    for number in range(LIMITS.sessions + 1):
        clock.now = float(number)
        browsers.append(running.open())
    codes = [browser.get("/api/state").status_code for browser in browsers]
    assert codes == [403, 200, 200]


def preview(browser, photo, crop, **choices):
    body = {"photo": photo["id"], "crop": crop, "choices": {"model": "nano", "scale": 2} | choices}
    return browser.post("/api/preview", body)


def test_a_preview_is_the_part_of_the_result(browser):
    from base64 import b64decode

    photo = browser.add(data=photo_bytes((60, 48)))
    crop = {"left": 20, "top": 17, "width": 16, "height": 12}
    answer = preview(browser, photo, crop, fidelity=1).json()
    pixels = {
        name: np.asarray(
            Image.open(BytesIO(b64decode(answer[name]["url"].partition(",")[2]))), np.int16
        )
        for name in ("before", "after")
    }
    assert answer["after"]["size"] == [32, 24]
    original = np.asarray(Image.open(BytesIO(photo_bytes((60, 48)))), np.int16)
    assert np.array_equal(pixels["before"], original[17:29, 20:36])
    browser.start(photo)
    record = browser.wait(photo, "done")
    content = browser.get(f"/api/photos/{record['id']}/result").content
    whole = np.asarray(Image.open(BytesIO(content)), np.int16)
    assert np.abs(whole[34:58, 40:72] - pixels["after"]).max() <= 6


@pytest.mark.parametrize(
    "crop",
    [
        {"left": -1, "top": 0, "width": 8, "height": 8},
        {"left": 20, "top": 0, "width": 8, "height": 8},
        {"left": 0, "top": 0, "width": 10_000, "height": 10_000},
        {"left": 0, "top": 0, "width": "8", "height": 8},
        {"left": 0, "top": 0, "width": 8},
        [0, 0, 8, 8],
    ],
)
def test_a_crop_that_is_no_part_of_the_photo_is_refused(browser, crop):
    answer = preview(browser, browser.add(), crop)
    assert answer.status_code in (400, 422)
    assert "rop" in answer.json()["error"]["message"]
