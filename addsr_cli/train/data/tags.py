"""Tags of all training photos, read once before training instead of from every crop."""

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
SAVE_EVERY = 32  # photos per process: about a minute on a GPU


def precompute_tags(
    photos: Photos,
    model: TrainableModel,
    folder: Path,
    accelerator: Accelerator,
) -> dict[str, str]:
    """Return tags by path, and keep them in ``tags.json`` of the run folder.

    Tags that an earlier start has saved there are not read again. The processes share the photos
    and exchange what they read after every few, so that none waits for long. Raises OutputRefused
    when the file cannot be written.
    """
    file = folder / FILE
    is_main = accelerator.is_main_process
    saved: dict[str, str] = {}
    if is_main and file.is_file():
        saved = json.loads(file.read_text(encoding="utf-8"))
    tags: dict[str, str] = broadcast_object_list([saved])[0]
    missing = [path for path in photos.paths if str(path) not in tags]
    if is_main:
        remove_partial_files(folder)
    processes = accelerator.num_processes
    round_size = SAVE_EVERY * processes
    for start in range(0, len(missing), round_size):
        photos_of_round = missing[start : start + round_size]
        new: list[tuple[str, str]] = []
        for path in photos_of_round[accelerator.process_index :: processes]:
            image = to_tensor(read(path).rgb).to(accelerator.device)
            new.append((str(path), model.read_tags(image)))
        tags |= dict(gather_object(new))
        if is_main:
            _save(file, tags)
    return tags


def _save(file: Path, tags: dict[str, str]) -> None:
    try:
        write_text(file, json.dumps(tags, indent=0))
    except OSError as exc:
        raise write_error(file, exc, "Choose another --output.") from exc
