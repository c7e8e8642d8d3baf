"""Where the options of training stand in ``addsr distill --help``."""

from functools import partial

from addsr_cli.options import Option

RUN, DATA, LOSSES, LOOP = "Run", "Data", "Losses and roll-out", "Loop"

# ADDSR_STEPS and the like speak to upscaling, so training reads no environment variables
train_option = partial(Option, variable=False)
