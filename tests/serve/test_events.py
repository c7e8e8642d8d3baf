"""The stream that keeps open tabs up to date."""

import json

from serve.conftest import QUICK, run_async

from addsr_cli.serve.choices import parse_choices
from addsr_cli.serve.events import EventStream


def parsed(message: str) -> tuple[str, dict]:
    event, data = message.strip().split("\n")
    return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_a_tab_hears_the_state_first_and_then_what_changes(page):
    running = page()
    browser = running.open()
    photo = browser.add()
    [session] = running.sessions

    async def listen() -> list[tuple[str, dict]]:
        stream = EventStream(session, running.services)
        heard = []
        async for message in stream.messages():
            heard.append(parsed(message))
            if len(heard) == 1:
                choices = parse_choices(QUICK, running.queue.models)
                running.queue.start(session, session.find(photo["id"]), choices)
            if heard[-1][1].get("status") == "done":
                session.remove(session.find(photo["id"]))
            if heard[-1][0] == "removed":
                return heard
        return heard

    heard = run_async(listen())
    assert heard[0][0] == "state"
    assert [each["id"] for each in heard[0][1]["photos"]] == [photo["id"]]
    statuses = [data["status"] for event, data in heard if event == "photo"]
    assert statuses[-1] == "done"
    assert heard[-1] == ("removed", {"id": photo["id"]})
    assert any(event == "queue" for event, _ in heard)
