"""Starts and ends the page: socket, models, temporary folder, web server."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn

from addsr_cli.errors import OutputRefused, UsageError
from addsr_cli.imageio import WriteOptions
from addsr_cli.serve import desktop
from addsr_cli.serve.access import Tokens
from addsr_cli.serve.choices import Choices
from addsr_cli.serve.limits import Limits
from addsr_cli.serve.page_session import Sessions
from addsr_cli.serve.photo_queue import OnUnexpected, PhotoQueue
from addsr_cli.serve.routes import make_app
from addsr_cli.serve.services import Services
from addsr_cli.serve.upscaling import Models
from addsr_cli.serve.workspace import require_folder, workspace
from addsr_cli.settings import Machine, Settings

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8417
SECONDS_TO_CLOSE = 2  # for responses that are being sent when the server ends


@dataclass(frozen=True, kw_only=True)
class RunningPage:
    """A page that is being served, for as long as ``run`` takes; ``url`` opens it."""

    url: str
    tokens: Tokens
    address: str
    server: uvicorn.Server
    socket: socket.socket

    def one_time_url(self) -> str:
        """Return an address that works once, for the command line of a browser."""
        return f"{self.address}/?token={self.tokens.once()}"

    def run(self) -> None:
        """Answer requests until Ctrl-C or SIGTERM, which are raised again afterwards."""
        self.server.run(sockets=[self.socket])


@contextmanager
def serve_page(
    *,
    model: str,
    machine: Machine,
    port: int | None,
    output_folder: Path | None,
    limits: Limits,
    on_unexpected: OnUnexpected | None = None,
) -> Iterator[RunningPage]:
    """Prepare the page, and remove everything that is temporary when the block ends.

    ``port`` None means `DEFAULT_PORT`, or any other if that is in use. Raises ModelUnavailable,
    OutputRefused for a folder that cannot be written, UsageError for a port that is in use.
    """
    folder = require_folder(output_folder) if output_folder else None
    models = Models(model, machine)
    with closing(_listen(port)) as listening, workspace() as temporary:
        queue = PhotoQueue(models, folder, on_unexpected)
        queue.warm_up(Choices(model=models.default, settings=Settings(), options=WriteOptions()))
        sessions = Sessions(temporary, limits)
        tokens = Tokens()
        servers: list[uvicorn.Server] = []
        services = Services(
            limits=limits,
            sessions=sessions,
            queue=queue,
            open_folder=_folder_opener(folder),
            is_closing=lambda: bool(servers) and servers[0].should_exit,
        )
        servers.append(_server(services, tokens))
        address = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        try:
            yield RunningPage(
                url=f"{address}/?token={tokens.lasting}",
                tokens=tokens,
                address=address,
                server=servers[0],
                socket=listening,
            )
        finally:
            queue.close()


def _server(services: Services, tokens: Tokens) -> uvicorn.Server:
    config = uvicorn.Config(
        make_app(services, tokens),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_CLOSE,
    )
    return uvicorn.Server(config)


def _listen(port: int | None) -> socket.socket:
    """Return a socket on the loopback interface. Raises UsageError for a port that is in use."""
    try:
        return _bound(DEFAULT_PORT if port is None else port)
    except OSError as exc:
        if port is None:
            return _bound(0)
        raise UsageError(
            f"Port {port} cannot be used: {exc.strerror}.", "Choose another --port, or none."
        ) from exc


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: no other program may listen, too
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _folder_opener(folder: Path | None) -> Callable[[], None]:
    if folder:
        return partial(desktop.open_folder, folder)

    def refuse() -> None:
        raise OutputRefused(
            "There is no output folder; results are downloaded.",
            "Start addsr serve with -o FOLDER.",
        )

    return refuse
