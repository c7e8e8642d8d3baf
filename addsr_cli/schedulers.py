"""Names of the schedulers, and the student's timesteps; ``schedule.Schedule`` says what they mean.

They stand alone because descriptions of models and options name them, and those must be readable
without importing torch.
"""

from typing import Literal

Scheduler = Literal["consistency", "leading", "trailing", "linspace"]

# AddSR section 3: S, the student's timesteps; N steps are the first N of them
STEPS = (999, 749, 499, 249)
