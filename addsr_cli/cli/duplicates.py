"""Detects that ``--samples`` made the same picture twice, because the model ignores the seed."""

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addsr_cli.engine.job import Job
    from addsr_cli.engine.result import Result

WARNING = "equals the first sample: with these settings the picture does not depend on the seed"


class DuplicateSamples:
    """Compares the ``samples`` results of each photo, which come one after the other."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._label = ""
        self._first_digest = ""

    def add_warning(self, job: "Job", result: "Result") -> "Result":
        """Return the result, with a warning if its 8-bit pixels equal those of the first sample."""
        if self.samples == 1:
            return result
        digest = hashlib.sha256(result.photo.to_array(8).tobytes()).hexdigest()
        if job.label != self._label:
            self._label = job.label
            self._first_digest = digest
            return result
        if digest != self._first_digest:
            return result
        return replace(result, warnings=(*result.warnings, WARNING))
