"""Runs the passes of one photo, each with the next plan where memory or numbers fail."""

from collections.abc import Sequence

from addsr_cli import hardware, imageio
from addsr_cli.engine import planner
from addsr_cli.engine.checks import InvalidOutput, first_line
from addsr_cli.engine.passes import passes_of
from addsr_cli.engine.plan import Plan
from addsr_cli.engine.resident_model import ResidentModel
from addsr_cli.engine.restoration import RunContext, restore
from addsr_cli.engine.result import empty_samples
from addsr_cli.errors import AddsrError
from addsr_cli.imageio import Photo
from addsr_cli.imageio.photo import Samples
from addsr_cli.models.one_pass import PrecisionLoss
from addsr_cli.models.registry import FALLBACK
from addsr_cli.models.restorer import Conditioning


def run_passes(
    model: ResidentModel,
    photo: Photo,
    target: Samples,
    plans: Sequence[Plan],
    context: RunContext,
) -> tuple[Plan, Conditioning]:
    """Run all passes from a photo into ``target`` (H, W, 1 or 3), one for each plan.

    What is between two of them has 16 bits. Returns the last plan and conditioning. Raises
    AddsrError and OutOfMemory where no plan works.
    """
    size = target.shape[1], target.shape[0]
    sizes = passes_of(model.located.spec, photo.size, size)
    for plan, pass_size in zip(plans, sizes, strict=True):
        out = target if pass_size == size else empty_samples(pass_size, photo.colours, 16)
        final_plan, conditioning = _run_pass(model, photo, out, plan, context)
        for note in conditioning.notes:
            if note not in context.warnings:
                context.warnings.append(note)
        context.progress.finish_pass()
        photo = Photo(samples=out)
    if out is not target:
        with context.timer.stage("finish"):
            imageio.resize_into(out, target)
    return final_plan, conditioning


def _run_pass(
    model: ResidentModel,
    photo: Photo,
    target: Samples,
    plan: Plan,
    context: RunContext,
) -> tuple[Plan, Conditioning]:
    """Run one pass into ``target``; returns the plan that worked, and the conditioning.

    When memory runs out the next smaller plan is tried, when numbers overflow the next wider type.
    """
    while True:
        context.progress.restart_pass(plan.tiles)
        next_plan: Plan | None
        try:
            [conditioning] = restore(model, [photo], [target], plan, context)
            return plan, conditioning
        except (InvalidOutput, PrecisionLoss) as exc:
            next_plan = plan.wider()
            problem = first_line(exc)
            if next_plan is None:
                raise AddsrError(
                    f"The model gave unusable numbers: {exc}.", f"Try --model {FALLBACK}."
                ) from exc
        except (MemoryError, RuntimeError) as exc:
            if not hardware.is_out_of_memory(exc):
                raise
            next_plan = plan.smaller()
            problem = first_line(exc)
            if next_plan is None:
                raise planner.out_of_memory(plan) from exc
        context.warnings.append(f"{problem}: continued with {next_plan.why}")
        plan = next_plan
        hardware.release_memory(plan.device)
