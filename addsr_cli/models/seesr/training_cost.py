"""Cost of training the full model, counted on the meta device at full size."""

from addsr_cli.models.architecture import TrainingCost, TrainingOptions, Workload

GIB = 1024**3
# Parameters
UNET_AND_CONTROLNET = 1_615_791_764
TRAINED = 386_739_280
CONDITION_ENCODER = 1_086_480  # the part of TRAINED that low ranks leave as it is
PER_RANK = 607_232
VAE = 83_653_863
TEXT_ENCODER = 340_387_840
TAGGER = 212_117_045
# Bytes that autograd saves of a 512 px sample in half precision, and the largest working set beside
# them: of the decoder, or with gradient checkpointing of one block that is computed again.
SAVED = 4.65 * GIB
SAVED_CHECKPOINTING = 0.72 * GIB
WORKING = 2.8 * GIB
WORKING_CHECKPOINTING = 1.5 * GIB
# TFLOP of a 512 px sample
ENCODE = 1.12
STUDENT = 4.6
EARLIER_PASS = 4.5  # of the student without gradient, decoded and read by the tagger
TEACHER = 2.0
DECODE = 2.51
TRAINED_DECODE = 5.0
TAG = 0.8  # image tokens and tags of LR and of HR


def training_cost(options: TrainingOptions, work: Workload) -> TrainingCost:
    """Return the cost of AddSR's student with SeeSR as its teacher."""
    size = work.bytes_per_number
    trained = TRAINED
    owned = TRAINED  # weights that the student does not share with the teacher
    if options.lora:
        trained = CONDITION_ENCODER + options.lora * PER_RANK
        owned = CONDITION_ENCODER
    saved, working = SAVED, WORKING
    if options.checkpointing:
        saved, working = SAVED_CHECKPOINTING, WORKING_CHECKPOINTING
    area = (work.crop / 512) ** 2
    return TrainingCost(
        parameters=UNET_AND_CONTROLNET + VAE + TEXT_ENCODER + TAGGER,
        trained=trained,
        frozen=size * (UNET_AND_CONTROLNET + VAE + TEXT_ENCODER) + 4 * TAGGER,
        copies=size * owned if size < 4 else 0,
        activations=int(size // 2 * area * (work.batch_size * saved + working)),
        tflop=_tflop(work) * area * (4 / 3 if options.checkpointing else 1),
    )


def _tflop(work: Workload) -> float:
    teacher = TEACHER + DECODE * work.decodes_teacher
    tflop = ENCODE + STUDENT + work.teacher_passes * teacher + TRAINED_DECODE + TAG
    tflop += EARLIER_PASS * work.earlier_passes
    if work.accumulates:
        tflop += STUDENT / 3 + DECODE
    return tflop
