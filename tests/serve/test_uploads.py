"""Photos come in: limits, names, and what is left of a file that is refused."""

from pathlib import Path

import pytest
from serve.conftest import LIMITS, photo_bytes, run_async

from addsr_cli.serve.file_names import clean_name, storage_name, unique_name
from addsr_cli.serve.uploads import TooLarge, receive


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def send(browser, data, name="photo.png", **headers):
    return browser.client.post("/api/photos", params={"name": name}, content=data, headers=headers)


def test_500_megabytes_are_refused_by_their_declared_length(page):
    running = page()
    read = []

    def body():
        read.append(1)
        yield b"x"

    answer = send(running.open(), body(), **{"content-length": "500000000"})
    assert answer.status_code == 413
    assert "larger than" in answer.json()["error"]["message"]
    assert files_in(running.folder) == []


def test_a_body_of_unknown_length_is_refused_at_the_limit(tmp_path):
    sent = []

    async def endless():
        while len(sent) < 500:
            sent.append(1)
            yield b"x" * 1000

    with pytest.raises(TooLarge, match=r"'photo.png' is larger than"):
        run_async(receive(endless(), "photo.png", tmp_path, LIMITS))
    assert len(sent) == LIMITS.photo_bytes // 1000 + 1
    assert files_in(tmp_path) == []


def test_too_many_pixels_are_refused_before_decoding(page):
    running = page()
    answer = send(running.open(), photo_bytes((200, 100)), "wide.png")
    assert answer.status_code == 413
    assert "'wide.png' has 200x100 pixels" in answer.json()["error"]["message"]
    assert files_in(running.folder) == []


def test_only_so_many_photos_fit(browser):
    for _ in range(LIMITS.photos):
        browser.add()
    answer = send(browser, photo_bytes())
    assert answer.status_code == 413
    assert "at most 3 photos" in answer.json()["error"]["message"]


def test_what_is_no_picture_is_named_with_its_reason_and_deleted(page):
    running = page()
    answer = send(running.open(), b"%PDF-1.7 not a photo", "scan.pdf")
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["message"].startswith("'scan.pdf' is a PDF document")
    assert error["hint"]
    assert str(running.folder) not in answer.text
    assert files_in(running.folder) == []


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/cron.d/x", "..\\..\\boot.ini", "C:\\x\\photo.png", ".."]
)
def test_no_folder_of_a_name_is_followed(page, name):
    running = page()
    record = running.open().add(name)
    assert "/" not in record["name"]
    assert "\\" not in record["name"]
    [path] = files_in(running.folder)
    assert path.stem == "original"


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("IMG_1.jpg", "IMG_1.jpg"),
        ("Größe 1.jpg", "Größe 1.jpg"),
        ("folder/photo.jpg", "photo.jpg"),
        ("a\x00b\n.jpg", "ab.jpg"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("...hidden", "hidden"),
        ("", "photo"),
        ("con.jpg", "_con.jpg"),
        ('a<b>:"c|?*.png', "a_b___c___.png"),
    ],
)
def test_names_become_plain(sent, name):
    assert clean_name(sent) == name


def test_long_names_are_cut_but_keep_their_suffix():
    name = clean_name("ä" * 300 + ".jpeg")
    assert name.endswith("ä.jpeg")
    assert len(name.encode()) < 200


def test_files_are_stored_under_a_fixed_name_with_a_plain_suffix():
    assert storage_name("photo.NEF") == "original.nef"
    assert storage_name("photo.<script>") == "original"


def test_equal_names_are_numbered():
    assert unique_name("a.png", {"a.png", "a (2).png"}) == "a (3).png"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b"{",
        b'{"photos": "all"}',
        b'{"photos": [], "choices": {"model": "other"}}',
        b'{"photos": [], "choices": {"model": "nano", "scale": "4"}}',
        b'{"photos": [], "choices": {"model": "nano", "scale": true}}',
        b'{"photos": [], "choices": {"model": "nano", "fidelity": 7}}',
        b'{"photos": [], "choices": {"model": "nano", "output": "/etc/x"}}',
        b'{"photos": [], "choices": {"model": "nano", "format": "exe"}}',
        b"{" * 200_000,
    ],
)
def test_malformed_choices_are_refused_with_a_sentence(browser, body):
    answer = browser.client.post(
        "/api/queue", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith((".", "characters"))


def test_a_form_of_another_page_is_no_json(browser):
    answer = browser.client.post("/api/queue", data={"photos": "[]"})
    assert answer.status_code == 400
