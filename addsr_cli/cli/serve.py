"""``addsr serve``: the page for photos that are dropped into a browser."""

import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.cli.escape import printable
from addsr_cli.cli.takes_options import Only, takes_options
from addsr_cli.errors import UsageError
from addsr_cli.options import parse_memory
from addsr_cli.settings import Machine

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder for results. [default: none, they are downloaded from the page]",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        help="Port to listen on. [default: 8417, or any free port if that is in use]",
    ),
]
Open = Annotated[
    bool,
    typer.Option("--open/--no-open", help="Open the page in the browser.", show_default=False),
]
MaxUpload = Annotated[
    str, typer.Option("--max-upload", help="Largest file that the page accepts.", metavar="<size>")
]


@takes_options
def serve(
    machine: Machine,
    console: Annotated[Console, Only("quiet", "verbose", "debug")],
    model: options.Model = "auto",
    output: Output = None,
    port: Port = None,
    open_page: Open = True,
    max_upload: MaxUpload = "300M",
) -> None:
    """Open a page in the browser: drop photos, preview, upscale, compare, save. Ctrl-C ends it."""
    _require_libraries()
    photo_bytes = parse_memory(max_upload, "--max-upload")
    from addsr_cli.cli.model_choice import choose_model
    from addsr_cli.serve.desktop import open_browser
    from addsr_cli.serve.limits import Limits
    from addsr_cli.serve.server import serve_page

    located = choose_model(model, machine.device, console, download=True)

    def log(exc: BaseException) -> None:
        if console.debug:
            traceback.print_exception(exc)

    page = serve_page(
        model=located.spec.name if model == "auto" else model,
        machine=machine,
        port=port,
        output_folder=output,
        limits=Limits(photo_bytes=photo_bytes),
        on_unexpected=log,
    )
    with page as running:
        if output:
            console.info(f"results go to {printable(str(output.resolve()))}")
        console.info("Open this address in a browser on this computer; Ctrl-C stops addsr serve:")
        console.result(running.url, {"url": running.url})
        if open_page:
            open_browser(running.one_time_url())
        with suppress(KeyboardInterrupt):  # the way to end it, so no failure
            running.run()
    console.info("addsr serve has stopped and deleted its temporary files.")


def _require_libraries() -> None:
    try:
        import starlette
        import uvicorn
    except ImportError as exc:
        raise UsageError(
            f"addsr serve needs {exc.name}, which is not installed.",
            "pip install 'addsr[serve]' adds it.",
        ) from exc
    del starlette, uvicorn
