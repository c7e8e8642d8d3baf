"""Copies of a photo that a browser can show: a thumbnail, and one to compare with the result."""

from addsr_cli import imageio
from addsr_cli.errors import AddsrError
from addsr_cli.report import Embedding, encode_picture
from addsr_cli.serve.saving import DISPLAY, THUMBNAIL
from addsr_cli.serve.uploads import ShownPicture, Upload, renamed

COPIES: dict[str, Embedding] = {"before": DISPLAY, "thumb": THUMBNAIL}


def make_copies(upload: Upload) -> None:
    """Decode a photo once and store its copies beside it.

    Raises UnreadableInput for a damaged file, OutOfMemory when it does not fit.
    """
    if upload.pictures:
        return
    try:
        photo = imageio.read(upload.path)
    except AddsrError as exc:
        raise renamed(exc, upload.path, upload.name) from exc
    pictures = {}
    for name, embedding in COPIES.items():
        picture = encode_picture(photo, embedding)
        path = upload.folder / name
        path.write_bytes(picture.data)
        pictures[name] = ShownPicture(path=path, media_type=picture.media_type)
    upload.pictures = pictures
