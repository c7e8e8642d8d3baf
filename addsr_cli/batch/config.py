"""What a batch is asked to do with every photo."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from addsr_cli.engine.job import Naming
from addsr_cli.imageio import WriteOptions
from addsr_cli.settings import Settings


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """One configuration for all photos below ``root``; outputs go below ``output``.

    ``model_sha256`` identifies the weights, since a model's name stays when its weights change.
    """

    root: Path
    output: Path
    settings: Settings
    options: WriteOptions
    naming: Naming
    model_sha256: str
    retry_failed: bool = False

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that identify everything that determines the outputs.

        Where the work runs, and what is overwritten or retried, is not part of it.
        """
        options = asdict(self.options)
        del options["overwrite"]
        values = asdict(self.settings) | options | asdict(self.naming)
        values["model_sha256"] = self.model_sha256
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def resolved_root(self) -> str:
        """The folder of the inputs as an absolute path."""
        return str(self.root.resolve())
