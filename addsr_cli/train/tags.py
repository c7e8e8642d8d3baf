"""Tags of all training photos, read once before the training instead of off every crop."""

import json
from pathlib import Path

from accelerate import Accelerator

from addsr_cli.errors import OutputRefused
from addsr_cli.imageio import read
from addsr_cli.pictures import as_tensor
from addsr_cli.train.dataset import Photos
from addsr_cli.train.learner import Learner

FILE = "tags.json"
SAVE_EVERY = 100


def precomputed(photos: Photos, learner: Learner, folder: Path, accelerator: Accelerator) -> dict[str, str]:
    """Tags by path, also in ``tags.json`` of the run folder, where those of an earlier start are taken up.

    The first process reads photos, the others wait for its file. Raises OutputRefused when it cannot be written.
    """
    file = folder / FILE
    if accelerator.is_main_process:
        known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        missing = [path for path in photos.paths if str(path) not in known]
        for number, path in enumerate(missing, 1):
            known[str(path)] = learner.read_tags(as_tensor(read(path).rgb).to(accelerator.device))
            if number % SAVE_EVERY == 0 or number == len(missing):
                _save(file, known)
    accelerator.wait_for_everyone()
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _save(file: Path, known: dict[str, str]) -> None:
    partial = file.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(known, indent=0), encoding="utf-8")
        partial.replace(file)
    except OSError as exc:
        raise OutputRefused(f"{file} cannot be written: {exc.strerror}.", "Choose another --output.") from exc
