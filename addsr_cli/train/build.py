"""From a configuration to the parts of a run."""

import os
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import InitProcessGroupKwargs, patch_environment

from addsr_cli import hardware
from addsr_cli.errors import UsageError
from addsr_cli.hardware import Hardware
from addsr_cli.models.architecture import TrainingOptions
from addsr_cli.models.registry import FALLBACK, training_setup
from addsr_cli.models.trainable import TrainableModel
from addsr_cli.perceptual import LPIPS
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.discriminators.base import ConvDiscriminator, Discriminator
from addsr_cli.train.discriminators.step import DiscriminatorStep
from addsr_cli.train.discriminators.vgg import VggDiscriminator
from addsr_cli.train.losses.perceptual import VggFeatures
from addsr_cli.train.objectives.base import Objective
from addsr_cli.train.objectives.distillation import Distillation
from addsr_cli.train.processes import join_restarted
from addsr_cli.weights import loader

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PATIENCE = timedelta(
    hours=6
)  # of processes that wait while the first measures; launchers notice one that dies


def machine_for(config: TrainConfig) -> tuple[Hardware, str]:
    """Return the hardware for this process, and its precision as accelerate names it.

    Raises UsageError for a device that this machine does not have.
    """
    machine = hardware.probe(_own_device(config.device))
    needs = training_setup(config.arch).needs
    if needs and machine.kind == "cpu" and config.device == "auto":
        raise UsageError(
            f"--arch {config.arch} needs {needs}, and this machine has none.",
            f"Use --arch {FALLBACK}, force it with --device cpu, "
            "or plan for a GPU: --dry-run --memory 40G.",
        )
    return machine, _mixed(config.precision, machine)


def accelerator_for(config: TrainConfig) -> Accelerator:
    """Set up device, processes and precision.

    Raises UsageError for a device that this machine does not have or a missing tracker.
    """
    machine, mixed = machine_for(config)
    if machine.kind == "cuda":  # before anything else uses the first GPU in every process
        torch.cuda.set_device(machine.device)
    if config.tracker and config.tracker not in {str(known) for known in get_available_trackers()}:
        problem = f"--tracker {config.tracker} is not installed, or accelerate does not know it."
        raise UsageError(
            problem, f"pip install {config.tracker}, or leave it out: log.jsonl is always written."
        )
    join_restarted("nccl" if machine.kind == "cuda" else "gloo", PATIENCE)
    chosen = {"ACCELERATE_TORCH_DEVICE": machine.device} if machine.kind == "cuda" else {}
    # else accelerate would take the current GPU, or that of the process's number
    with patch_environment(**chosen):
        return Accelerator(
            cpu=machine.kind == "cpu",
            mixed_precision=mixed,
            log_with=config.tracker,
            project_dir=config.output,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )


def _own_device(wanted: str) -> str:
    """Return the device of this process: on one machine, each process has a GPU of its own.

    Raises UsageError when one device is set for several processes.
    """
    number = int(os.environ.get("LOCAL_RANK", "-1"))
    devices = hardware.devices()
    if number < 0 or wanted == "cpu" or not devices[0].startswith("cuda"):
        return wanted
    if wanted not in ("auto", "cuda"):
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return wanted
        problem = f"--device {wanted} is one device, but several processes were launched."
        raise UsageError(problem, "Leave it out: each process uses its own GPU.")
    return devices[number % len(devices)]


def trainable_for(config: TrainConfig, accelerator: Accelerator) -> TrainableModel:
    """Build student and teacher on the device.

    Raises ModelUnavailable when the teacher's weights are not installed.
    """
    torch.manual_seed(config.seed)
    options = training_options(config, DTYPES[accelerator.mixed_precision])
    model = training_setup(config.arch).build(options)
    model.to(accelerator.device)
    return model


def training_options(config: TrainConfig, dtype: torch.dtype) -> TrainingOptions:
    """Return what the architecture needs to know of a run; frozen weights are in ``dtype``."""
    return TrainingOptions(
        stage=config.stage,
        teacher=config.teacher,
        locate=lambda name: loader.locate(name).file,
        dtype=dtype,
        init=config.init,
        lora=config.lora,
        checkpointing=config.checkpointing,
    )


def objective_for(
    config: TrainConfig,
    model: TrainableModel,
    accelerator: Accelerator,
) -> Objective:
    """Build the losses and the training step of the recipe.

    Raises ModelUnavailable when a loss needs weights that are not installed.
    """
    recipe = config.recipe
    vgg = None
    discriminator_step = None
    if recipe.anchor_lpips or (recipe.adversarial and recipe.discriminator == "vgg"):
        dtype = DTYPES[accelerator.mixed_precision]
        vgg = VggFeatures(
            LPIPS.load(
                "vgg",
                device=accelerator.device,
                dtype=dtype,
            )
        )
    if recipe.adversarial:
        torch.manual_seed(config.seed + 1)
        discriminator_step = DiscriminatorStep(_discriminator(config, vgg), config, accelerator)
    return Distillation(
        config,
        model,
        discriminator_step,
        accelerator,
        vgg,
    )


def _discriminator(config: TrainConfig, vgg: VggFeatures | None) -> Discriminator:
    if config.recipe.discriminator == "conv":
        return ConvDiscriminator()
    if vgg is not None and config.recipe.discriminator == "vgg":
        return VggDiscriminator(vgg)
    from addsr_cli.train.discriminators.backbones import random_backbones
    from addsr_cli.train.discriminators.projected import (
        ProjectedDiscriminator,  # pulls in transformers
    )
    from addsr_cli.weights import sources
    from addsr_cli.weights.components import DINO, DINOV2

    raw = config.recipe.dinov2_colors == "raw"
    if training_setup(config.arch).random:
        return ProjectedDiscriminator(*random_backbones(), raw=raw)
    return ProjectedDiscriminator.load(
        sources.fetch(DINO),
        sources.fetch(DINOV2),
        raw=raw,
    )


def _mixed(precision: str, machine: Hardware) -> str:
    """Return accelerate's name; auto is bf16 where the hardware is fast at it, else float32."""
    if precision == "auto":
        return "bf16" if machine.bf16 else "no"
    return "no" if precision == "fp32" else precision
