"""Copies of a photo that a browser can show, each made when it is first asked for."""

from collections.abc import Mapping

from addsr_cli import imageio
from addsr_cli.errors import AddsrError
from addsr_cli.imageio import Photo
from addsr_cli.report import Embedding, encode_picture
from addsr_cli.serve.saving import DISPLAY
from addsr_cli.serve.uploads import ShownPicture, Upload, renamed

_SMALL_COPIES = {
    "thumb": Embedding(max_side=256, quality=80, lossless=False),
    "photo": Embedding(max_side=1600),
}
_COMPARED = {"before": DISPLAY}
COPIES: dict[str, Mapping[str, Embedding]] = {
    "thumb": _SMALL_COPIES,
    "photo": _SMALL_COPIES,
    "before": _COMPARED,
}
"""By the copy that is asked for: those that are made with it, from the photo decoded once.

The list shows ``thumb``, and the frame of the preview lies on ``photo``. ``before`` is compared
with the result: it is large, and few photos need it.
"""


def make_copies(upload: Upload, name: str) -> ShownPicture:
    """Return the copy ``name`` of a photo, a key of `COPIES`; it is stored beside the photo.

    Raises UnreadableInput for a damaged file, OutOfMemory when it does not fit.
    """
    if name not in upload.pictures:
        copies = COPIES[name]
        photo = _read(upload, max(embedding.max_side for embedding in copies.values()))
        for each, embedding in copies.items():
            picture = encode_picture(photo, embedding)
            path = upload.folder / each
            path.write_bytes(picture.data)
            upload.pictures[each] = ShownPicture(path=path, media_type=picture.media_type)
    return upload.pictures[name]


def _read(upload: Upload, max_side: int) -> Photo:
    try:
        return imageio.read_reduced(upload.path, max_side)
    except AddsrError as exc:
        raise renamed(exc, upload.path, upload.name) from exc
