"""A URL as input, against a server on this computer."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from addsr_cli.cli import url_input
from addsr_cli.cli.url_input import file_name, is_url

PAGES = {
    "/page.html": (200, "text/html; charset=utf-8", b"<html>"),
    "/lies.jpg": (200, "image/jpeg", b"<html>no picture"),
    "/gone.jpg": (404, "text/html", b""),
}


@pytest.fixture(scope="module")
def server():
    with BytesIO() as out:
        Image.new("RGB", (12, 8), (200, 60, 30)).save(out, "PNG")
        PAGES["/a%20photo.png?size=1"] = (200, "image/png", out.getvalue())
        PAGES["/bytes"] = (200, "application/octet-stream", out.getvalue())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/moved.png":
                self.send_response(302)
                self.send_header("Location", "/a%20photo.png?size=1")
                self.end_headers()
                return
            if self.path == "/endless.png":
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.end_headers()
                self.wfile.write(bytes(3000))
                return
            code, kind, body = PAGES[self.path]
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(autouse=True)
def online(monkeypatch, tmp_path):
    for variable in url_input.OFFLINE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", ["/a%20photo.png?size=1", "/moved.png"])
def test_a_picture_from_the_web_is_upscaled_into_the_working_folder(upscale, server, path):
    outcome = upscale(f"{server}{path}", "--scale", "2")
    assert outcome.code == 0
    output = Path(outcome.out.strip())
    assert output.name in ("a photo_x2.png", "moved_x2.png")
    with Image.open(output) as image:
        assert image.size == (24, 16)
    assert "downloaded http://127.0.0.1" in outcome.err
    assert "image/png" in outcome.err


def test_a_url_alone_is_short_for_upscale(addsr, server):
    outcome = addsr(f"{server}/bytes", "--dry-run", "--model", "nano")
    assert outcome.code == 0
    assert "12x8" in outcome.out


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/page.html", "content type is text/html"),
        ("/lies.jpg", "a web page"),
        ("/gone.jpg", "404"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(upscale, server, path, reason):
    outcome = upscale(f"{server}{path}")
    assert outcome.code == 6
    assert reason in outcome.lines[-1]
    assert not list(Path().iterdir())


@pytest.mark.parametrize("path", ["/bytes", "/endless.png"])
def test_a_download_ends_at_the_limit_of_size(upscale, server, monkeypatch, path):
    monkeypatch.setattr(url_input, "MAX_BYTES", 50)
    outcome = upscale(f"{server}{path}")
    assert (outcome.code, len(outcome.lines)) == (6, 1)
    assert "larger than the limit" in outcome.err


def test_a_download_ends_at_the_limit_of_time(upscale, server, monkeypatch):
    monkeypatch.setattr(url_input, "MAX_SECONDS", -1.0)
    assert "took longer" in upscale(f"{server}/bytes").err


@pytest.mark.parametrize("variable", url_input.OFFLINE_VARIABLES)
def test_offline_nothing_is_requested(upscale, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    outcome = upscale("http://127.0.0.1:1/photo.jpg")
    assert (outcome.code, len(outcome.lines)) == (6, 1)
    assert f"Unset {variable}" in outcome.err


def test_a_server_that_cannot_be_reached_is_an_error_of_the_input(upscale):
    outcome = upscale("http://127.0.0.1:1/photo.jpg")
    assert (outcome.code, len(outcome.lines)) == (6, 1)
    assert "cannot be downloaded" in outcome.err


def test_other_addresses_are_refused(upscale):
    outcome = upscale("ftp://example.org/cat.jpg")
    assert outcome.code == 6
    assert "Use http or https" in outcome.err


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.org/x/photo.jpg?w=1#top", "photo.jpg"),
        ("https://a.org/..%2f..%2fetc%2fpasswd", "passwd"),
        ("https://a.org/a%3Cb%5C.png", "a_b_.png"),
        ("https://a.org/.bashrc", "bashrc"),
        ("https://a.org", "download"),
    ],
)
def test_outputs_are_named_after_the_last_part_of_the_path(url, name):
    assert file_name(url) == name


def test_paths_are_no_urls():
    assert not any(map(is_url, ["photo.jpg", "-", "C:/photo.jpg", "./https:/x"]))
