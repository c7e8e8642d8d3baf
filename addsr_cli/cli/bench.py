"""``addsr bench``: how fast a model is here, and how good its pictures are."""

import sys
from typing import TYPE_CHECKING, Annotated

from addsr_cli.bench.options import BenchOptions, ReportFiles, bench_option
from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes
from addsr_cli.cli.takes_options import Only, takes_options
from addsr_cli.settings import Machine

if TYPE_CHECKING:
    from addsr_cli.bench.report import Report


@takes_options
def bench(
    what: BenchOptions,
    files: ReportFiles,
    machine: Annotated[
        Machine,
        Only(
            "device",
            "tile",
            "overlap",
            "decoder",
            "compile",
            "max_memory",
        ),
    ],
    console: Annotated[Console, Only("json", "quiet", "verbose", "debug")],
    model: options.Model = "auto",
    random_weights: Annotated[
        bool,
        bench_option("The full model with random weights: its speed, without a download."),
    ] = False,
) -> None:
    """Measure speed by stage; with --data, quality against references and beside peers."""
    files.check()
    what.check_save_folder()
    from addsr_cli.bench.ablation import find_variants
    from addsr_cli.bench.report import write_report
    from addsr_cli.bench.run import BenchCallbacks, run
    from addsr_cli.cli.model_choice import choose_model
    from addsr_cli.weights import loader

    if random_weights:
        located = loader.random_weights()
    elif what.ablation:
        located = find_variants(what.ablation, what.trained_folders)[0].located
    else:
        located = choose_model(model, machine.device, console, download=True)
    located = loader.with_decoder(located, machine.decoder)
    callbacks = BenchCallbacks(
        info=console.info,
        warn=console.warn,
        progress=console.count_progress,
    )
    report = run(
        located,
        machine,
        what,
        callbacks,
        keep_pictures=files.html is not None,
    )
    for path, size in write_report(report, files):
        console.info(f"{path}: {format_bytes(size)}")
    _print(
        report,
        console,
        as_markdown=files.markdown == "-",
    )


def _print(
    report: "Report",
    console: Console,
    *,
    as_markdown: bool,
) -> None:
    """Write the report to stdout: records, Markdown, or tables, drawn on a terminal."""
    if console.json:
        for record in report.records():
            console.result("", record)
    elif as_markdown:
        print(report.markdown(), end="", flush=True)
    elif sys.stdout.isatty():
        _draw(report)
    else:
        print(report.text(), flush=True)


def _draw(report: "Report") -> None:
    from rich.console import Console as RichConsole

    screen = RichConsole()
    for table in report.tables():
        screen.print(table.rich())
    screen.print(
        report.protocol_text(),
        highlight=False,
        markup=False,
    )
