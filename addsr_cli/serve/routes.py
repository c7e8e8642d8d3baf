"""The application: the page, its state, the queue and downloads of all results."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from addsr_cli.errors import AddsrError, OutputRefused
from addsr_cli.serve.access import Gate, Tokens
from addsr_cli.serve.archive import Member, zip_chunks
from addsr_cli.serve.choices import parse_choices
from addsr_cli.serve.events import events
from addsr_cli.serve.file_names import unique_name
from addsr_cli.serve.html import page_html
from addsr_cli.serve.page_session import PageSession
from addsr_cli.serve.photo_routes import PHOTO_ROUTES
from addsr_cli.serve.services import Services, read_json, services_of, session_of
from addsr_cli.serve.uploads import TooLarge

SWEEP = 30.0  # seconds between looks for sessions that have expired
STATUS = {
    "usage": 400,
    "access_denied": 403,
    "output_refused": 409,
    "unreadable_input": 422,
    "out_of_memory": 507,
    "model_unavailable": 503,
}


async def page(_: Request) -> Response:
    """Send the page, whose policy allows only its own style and script."""
    html, policy = page_html()
    return HTMLResponse(html, headers={"content-security-policy": policy})


async def state(request: Request) -> Response:
    """Send all that the page shows."""
    return JSONResponse(services_of(request).record(session_of(request)))


async def start(request: Request) -> Response:
    """Put photos into the queue: {"photos": [ids], "choices": {...}}."""
    session = session_of(request)
    queue = services_of(request).queue
    data = await read_json(request)
    choices = parse_choices(data.get("choices"), queue.models)
    for upload in session.select(data.get("photos")):
        queue.start(session, upload, choices)
    return JSONResponse(queue.summary(session))


async def cancel(request: Request) -> Response:
    """Take photos out of the queue: {"photos": [ids]}."""
    session = session_of(request)
    queue = services_of(request).queue
    data = await read_json(request)
    for upload in session.select(data.get("photos")):
        queue.cancel(session, upload)
    return JSONResponse(queue.summary(session))


async def download_all(request: Request) -> Response:
    """Send every result in one ZIP archive, while it is written."""
    members = _members(session_of(request))
    if not members:
        raise OutputRefused("There is no result to download yet.", "Upscale a photo first.")
    headers = {"content-disposition": 'attachment; filename="addsr.zip"'}
    return StreamingResponse(zip_chunks(members), media_type="application/zip", headers=headers)


async def open_folder(request: Request) -> Response:
    """Show the folder of results in the file manager of this computer."""
    services_of(request).open_folder()
    return Response(status_code=204)


def _members(session: PageSession) -> list[Member]:
    members: list[Member] = []
    names: set[str] = set()
    for upload in list(session.uploads.values()):
        output = upload.state.output
        if output:
            name = unique_name(output.name, names)
            names.add(name)
            members.append(Member(path=output.path, name=name))
    return members


async def _on_error(_: Request, exc: Exception) -> Response:
    error = exc if isinstance(exc, AddsrError) else AddsrError(str(exc))
    status = 413 if isinstance(error, TooLarge) else STATUS.get(error.code, 500)
    return JSONResponse({"error": error.record()}, status_code=status)


async def _on_http_error(_: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    error = AddsrError("There is nothing at this address.")
    if status == 405:
        error = AddsrError("This address does not take such a request.")
    return JSONResponse({"error": error.record()}, status_code=status)


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # for a browser that does not listen any more


def make_app(services: Services, tokens: Tokens) -> Starlette:
    """Return the application; sessions expire while it runs."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(services))
        yield
        sweeper.cancel()
        with suppress(asyncio.CancelledError):
            await sweeper

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/api/state", state),
            Route("/api/events", events),
            Route("/api/queue", start, methods=["POST"]),
            Route("/api/cancel", cancel, methods=["POST"]),
            Route("/api/results.zip", download_all),
            Route("/api/open-folder", open_folder, methods=["POST"]),
            *PHOTO_ROUTES,
        ],
        middleware=[Middleware(Gate, tokens=tokens, sessions=services.sessions)],
        exception_handlers={
            AddsrError: _on_error,
            HTTPException: _on_http_error,
            ClientDisconnect: _on_disconnect,
        },
        lifespan=lifespan,
    )
    app.state.services = services
    return app


async def _sweep(services: Services) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        services.sessions.expire()
