"""Tags of all training photos, read once before the training instead of off every crop."""

import json
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from addsr_cli.canvas import to_tensor
from addsr_cli.files import remove_partial_files, write_error, write_text
from addsr_cli.imageio import read
from addsr_cli.models.trainable import TrainableModel
from addsr_cli.train.data.dataset import Photos

FILE = "tags.json"
SAVE_EVERY = 32  # photos of each process; a minute or so on a GPU


def precomputed(
    photos: Photos,
    model: TrainableModel,
    folder: Path,
    accelerator: Accelerator,
) -> dict[str, str]:
    """Tags by path, also in ``tags.json`` of the run folder, where those of an earlier start are taken up.

    The processes share the photos and tell each other what they read after every few, so that none
    ever waits for long. Raises OutputRefused when the file cannot be written.
    """
    file, main = folder / FILE, accelerator.is_main_process
    found = [json.loads(file.read_text(encoding="utf-8")) if main and file.is_file() else {}]
    known: dict[str, str] = broadcast_object_list(found)[0]
    missing = [path for path in photos.paths if str(path) not in known]
    if main:
        remove_partial_files(folder)
    together = SAVE_EVERY * accelerator.num_processes
    for start in range(0, len(missing), together):
        own = missing[start : start + together][
            accelerator.process_index :: accelerator.num_processes
        ]
        read_here = [
            (str(path), model.read_tags(to_tensor(read(path).rgb).to(accelerator.device)))
            for path in own
        ]
        known |= dict(gather_object(read_here))
        if main:
            _save(file, known)
    return known


def _save(file: Path, known: dict[str, str]) -> None:
    try:
        write_text(file, json.dumps(known, indent=0))
    except OSError as exc:
        raise write_error(file, exc, "Choose another --output.") from exc
