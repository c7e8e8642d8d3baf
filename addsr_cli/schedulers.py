"""The names of the ways to go from one timestep to the next; ``schedule.Schedule`` says what they mean.

They stand alone because descriptions of models name them, and those must be readable without torch.
"""

from typing import Literal

Scheduler = Literal["renoise", "leading", "trailing"]
