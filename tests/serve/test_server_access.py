"""Who may use the page: this computer's user, from the page itself, with the token."""

import base64
import hashlib
import re

import pytest
from serve.conftest import inline_scripts


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8417", "127.0.0.1.evil.example", ""]
)
def test_a_foreign_host_name_is_refused_even_with_the_token(page, host):
    running = page()
    answer = running.client().get(
        "/", params={"token": running.tokens.lasting}, headers={"host": host}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["localhost:8417", "[::1]:8417", "127.0.0.1:9000"])
def test_every_name_and_forwarded_port_of_this_computer_works(page, host):
    running = page()
    answer = running.client().get(
        "/", params={"token": running.tokens.lasting}, headers={"host": host}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/", "/?token=wrong", "/?token=%ff", "/api/state", "/api/events"])
def test_without_the_token_nothing_is_shown(page, path):
    answer = page().client().get(path)
    assert answer.status_code == 403
    assert "addsr serve has printed" in answer.text


def test_the_token_opens_only_the_page_itself(page):
    running = page()
    answer = running.client().get("/api/state", params={"token": running.tokens.lasting})
    assert answer.status_code == 403


def test_a_token_for_one_use_works_once(page):
    running = page()
    token = running.tokens.once()
    assert running.client().get("/", params={"token": token}).status_code == 200
    assert running.client().get("/", params={"token": token}).status_code == 403


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(page):
    running = page()
    answer = running.client().get("/", params={"token": running.tokens.lasting})
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Strict" in answer.headers["set-cookie"]
    assert running.tokens.lasting not in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_that_other_pages_start_are_refused(browser, headers, method):
    path = "/api/state" if method == "GET" else "/api/open-folder"
    assert browser.client.request(method, path, headers=headers).status_code == 403


def test_our_own_page_may_ask(browser):
    headers = {"origin": "http://127.0.0.1:8417", "sec-fetch-site": "same-origin"}
    assert browser.get("/api/state", headers=headers).status_code == 200


def test_malformed_cookies_of_other_local_pages_do_no_harm(page):
    running = page()
    browser = running.open()
    cookies = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
    answer = browser.get("/api/state", headers={"cookie": f'a b=c; "x; {cookies}; =;'})
    assert answer.status_code == 200


def test_the_policy_allows_exactly_the_script_and_style_of_the_page(page):
    running = page()
    answer = running.client().get("/", params={"token": running.tokens.lasting})
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    [script] = inline_scripts(answer.text)
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    for text in (script, style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.search(r"\son\w+=|javascript:|\sstyle=|https?://(?!www\.w3\.org)", answer.text)


@pytest.mark.parametrize("path", ["/api/state", "/nothing", "/api/photos/x/before"])
def test_every_answer_forbids_frames_sniffing_and_caches(browser, path):
    headers = browser.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/api/photos/..%2f..%2fetc%2fpasswd/before", "/assets/main.js"]
)
def test_no_path_of_the_address_is_a_path_on_the_disk(browser, path):
    answer = browser.get(path)
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text
