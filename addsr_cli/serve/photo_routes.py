"""Requests about single photos: add, remove, look at, preview, download."""

import asyncio
from functools import partial
from pathlib import Path

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from addsr_cli.errors import UnreadableInput
from addsr_cli.report import Embedding, data_url
from addsr_cli.serve.choices import parse_choices
from addsr_cli.serve.events import POLL
from addsr_cli.serve.file_names import clean_name
from addsr_cli.serve.job_queue import Cancelled
from addsr_cli.serve.photo_queue import Pair
from addsr_cli.serve.pictures import COPIES, make_copies
from addsr_cli.serve.services import read_json, services_of, session_of
from addsr_cli.serve.uploads import UpscaledPhoto, check_bytes, receive
from addsr_cli.serve.upscaling import Crop


async def add(request: Request) -> Response:
    """Take the body as a photo; ``?name=`` is the name to show."""
    session = session_of(request)
    limits = services_of(request).limits
    name = clean_name(request.query_params.get("name", ""))
    declared = request.headers.get("content-length", "0")
    check_bytes(int(declared) if declared.isdecimal() else 0, name, limits)
    session.check_count()
    session.receiving += 1
    try:
        upload = await receive(request.stream(), name, session.folder, limits)
    finally:
        session.receiving -= 1
    session.add(upload)
    return JSONResponse(upload.record(), status_code=201)


async def remove(request: Request) -> Response:
    """Forget a photo and cancel its job; a result in the user's folder stays."""
    session = session_of(request)
    session.remove(session.find(request.path_params["id"]))
    return Response(status_code=204)


async def copy(request: Request, name: str) -> Response:
    """Send a copy of the photo, one of `COPIES`."""
    upload = session_of(request).find(request.path_params["id"])
    picture = upload.pictures.get(name)
    if picture is None:
        limiter = services_of(request).decoding
        picture = await to_thread.run_sync(make_copies, upload, name, limiter=limiter)
    return _file(picture.path, picture.media_type)


async def after(request: Request) -> Response:
    """Send the result as a picture to show."""
    shown = _output(request).shown
    return _file(shown.path, shown.media_type)


async def trust(request: Request) -> Response:
    """Send the map of what the result invented."""
    shown = _output(request).trust
    if shown is None:
        raise UnreadableInput("This result has no map of what was invented.")
    return _file(shown.path, shown.media_type)


async def result(request: Request) -> Response:
    """Send the result as a download."""
    output = _output(request)
    return _file(output.path, filename=output.name)


async def preview(request: Request) -> Response:
    """Upscale a part of a photo; a newer request of the same browser replaces an older one."""
    session = session_of(request)
    queue = services_of(request).queue
    data = await read_json(request)
    upload = session.find(data.get("photo"))
    box = data.get("crop")
    if not isinstance(box, dict) or box.keys() != {"left", "top", "width", "height"}:
        raise UnreadableInput("The crop is incomplete.")
    crop = Crop(**box)
    choices = parse_choices(data.get("choices"), queue.models)
    job = queue.preview(session, upload, crop, choices)
    future = asyncio.wrap_future(job.future)
    while not future.done():  # unlike `await future`, this tells its cancellation from our own
        await asyncio.wait([future], timeout=POLL)
        if services_of(request).is_closing():
            job.cancel()
            return _superseded()
    if future.cancelled():
        return _superseded()
    exc = future.exception()
    if isinstance(exc, Cancelled):
        return _superseded()
    if exc is not None:
        raise queue.sentence(exc)
    return JSONResponse(await to_thread.run_sync(_preview_record, future.result()))


def _superseded() -> Response:
    return JSONResponse({"superseded": True})


def _preview_record(pair: Pair) -> dict[str, object]:
    embedding = Embedding()
    record: dict[str, object] = {}
    for name, photo in zip(("before", "after"), pair, strict=True):
        record[name] = {"url": data_url(photo, embedding), "size": list(photo.size)}
    return record


def _output(request: Request) -> UpscaledPhoto:
    output = session_of(request).find(request.path_params["id"]).state.output
    if output is None:
        raise UnreadableInput("This photo has no result yet.", "Upscale it first.")
    return output


def _file(path: Path, media_type: str | None = None, filename: str | None = None) -> Response:
    if not path.is_file():
        raise UnreadableInput("This file is no longer there.", "Upscale the photo again.")
    return FileResponse(path, media_type=media_type, filename=filename)


PHOTO_ROUTES = [
    Route("/api/photos", add, methods=["POST"]),
    Route("/api/photos/{id}", remove, methods=["DELETE"]),
    Route("/api/photos/{id}/after", after),
    Route("/api/photos/{id}/trust", trust),
    Route("/api/photos/{id}/result", result),
    *(Route(f"/api/photos/{{id}}/{name}", partial(copy, name=name)) for name in COPIES),
    Route("/api/preview", preview, methods=["POST"]),
]
