"""Where tiles and regions lie. Plain arithmetic: plans count with it what the engine later cuts.

A box is a pair of slices, rows and columns. "With halo" is a box and all that a network of finite
reach sees around it, as far as the picture goes.
"""

Box = tuple[slice, slice]  # rows, columns


def offsets(
    length: int,
    tile: int,
    overlap: int,
) -> list[int]:
    """Return where tiles start along one axis; the last one is flush with the end."""
    if length <= tile:
        return [0]
    last = length - tile
    return [*range(0, last, tile - overlap), last]


def boxes(
    height: int,
    width: int,
    tile: int,
    overlap: int,
) -> list[Box]:
    """Return (rows, columns) of every tile over an area of this size."""
    return [
        (slice(y, min(y + tile, height)), slice(x, min(x + tile, width)))
        for y in offsets(height, tile, overlap)
        for x in offsets(width, tile, overlap)
    ]


def cut(
    area: Box,
    tile: int,
    halo: int,
    size: tuple[int, int],
    multiple: int,
) -> list[tuple[Box, Box]]:
    """Return tiles of nearly equal sides, at most ``tile``, that fill ``area``, and with halos.

    Sides are rounded up to ``multiple``; halos end where the picture of ``size`` (height, width)
    ends.
    """
    rows, columns = (
        sides(side, tile, halo, length, multiple) for side, length in zip(area, size, strict=True)
    )
    return [
        ((row, column), (row_with_halo, column_with_halo))
        for row, row_with_halo in rows
        for column, column_with_halo in columns
    ]


def sides(
    area: slice,
    tile: int,
    halo: int,
    length: int,
    multiple: int,
) -> list[tuple[slice, slice]]:
    """Return what ``cut`` does along one axis of ``length``: sides, and with halos."""
    count = -(-(area.stop - area.start) // tile)
    side = -(-(area.stop - area.start) // count)
    side = -(-side // multiple) * multiple
    return [
        (
            slice(start, min(start + side, area.stop)),
            slice(max(0, start - halo), min(start + side + halo, length)),
        )
        for start in range(area.start, area.stop, side)
    ]


def grown_side(
    side: slice,
    margin: int,
    length: int,
) -> slice:
    """Return the slice with ``margin`` more at both ends, within an axis of ``length``."""
    return slice(max(0, side.start - margin), min(length, side.stop + margin))


def side_within(side: slice, other: slice) -> slice:
    """Return the slice in the coordinates of the slice ``other`` that holds it."""
    return slice(side.start - other.start, side.stop - other.start)


def within(box: Box, other: Box) -> Box:
    """Return ``box`` in the coordinates of the window ``other`` that holds it."""
    rows, columns = (side_within(side, outer) for side, outer in zip(box, other, strict=True))
    return rows, columns


def scaled_box(box: Box, scale: int) -> Box:
    """Return the box in units that are ``scale`` times smaller."""
    rows, columns = (scaled(side, scale) for side in box)
    return rows, columns


def shrunk_box(box: Box, scale: int) -> Box:
    """Return the box, whose sides ``scale`` divides, in units that are so many times larger."""
    rows, columns = (slice(side.start // scale, side.stop // scale) for side in box)
    return rows, columns


def scaled(side: slice, scale: int) -> slice:
    """Return the slice in units that are ``scale`` times smaller."""
    return slice(side.start * scale, side.stop * scale)
