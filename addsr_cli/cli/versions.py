"""The versions that ``--samples`` makes of a photo: do they differ at all."""

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addsr_cli.engine.job import Job
    from addsr_cli.engine.upscaler import Result

ALIKE = "equals the first version: here the picture does not depend on the seed"


class Versions:
    """Compares the ``samples`` versions of each photo, which come one after the other."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._label, self._first = "", ""

    def compared(self, job: "Job", result: "Result") -> "Result":
        """The result, with a warning when its 8-bit pixels are those of the photo's first version."""
        if self.samples == 1:
            return result
        digest = hashlib.sha256(result.photo.to_array(8).tobytes()).hexdigest()
        if job.label != self._label:
            self._label, self._first = job.label, digest
        elif digest == self._first:
            return replace(result, warnings=(*result.warnings, ALIKE))
        return result
