import os
import sys

import pytest

from addsr_cli.batch.walk import (
    ADDSR_OUTPUT,
    ALREADY_VISITED,
    EXCLUDED,
    HIDDEN,
    NOT_A_PICTURE,
    VIDEO,
    find_photos,
)
from addsr_cli.errors import UnreadableInput


@pytest.fixture
def root(tmp_path):
    """Create files of these names in a folder; their contents do not matter."""
    folder = tmp_path / "in"
    folder.mkdir()

    def fill(*names):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")
        return folder

    return fill


def test_photos_are_found_at_all_depths_in_sorted_order(root, tmp_path):
    folder = root("b.jpg", "a/z.PNG", "a/b/c.webp", "ä/日本 1.tiff")
    assert find_photos(folder, tmp_path / "out").photos == (
        "a/b/c.webp",
        "a/z.PNG",
        "b.jpg",
        "ä/日本 1.tiff",
    )


def test_everything_else_is_counted_by_reason(root, tmp_path):
    names = ("a.jpg", ".b.jpg", ".git/c.jpg", "d.txt", "e.TXT", "f", "g.MOV", "h.mp4")
    tree = find_photos(root(*names), tmp_path / "out")
    assert tree.photos == ("a.jpg",)
    assert tree.skipped == {HIDDEN: 2, NOT_A_PICTURE: 3, VIDEO: 2}
    assert tree.suffixes == {
        NOT_A_PICTURE: {".txt": 2, "no suffix": 1},
        VIDEO: {".mov": 1, ".mp4": 1},
    }


def test_photos_of_unreadable_formats_are_found_too(root, tmp_path):
    names = ("a.HEIC", "b.dng", "c.CR3", "d.nef", "e.jxl", "f.arw")
    assert find_photos(root(*names), tmp_path / "out").photos == names


@pytest.mark.parametrize(
    ("include", "exclude", "photos"),
    [
        (["*.jpg"], [], ("a.JPG", "sub/c.jpg")),
        (["sub"], [], ("sub/b.png", "sub/c.jpg")),
        ([], ["sub"], ("a.JPG",)),
        ([], ["sub/*.png"], ("a.JPG", "sub/c.jpg")),
        (["*.jpg", "*.png"], ["A*"], ("sub/b.png", "sub/c.jpg")),
    ],
)
def test_globs_select_photos(root, tmp_path, include, exclude, photos):
    tree = find_photos(root("a.JPG", "sub/b.png", "sub/c.jpg"), tmp_path / "out", include, exclude)
    assert tree.photos == photos
    assert tree.skipped[EXCLUDED] >= 1


def test_outputs_inside_the_tree_are_skipped(root):
    folder = root("a.jpg", "out/a_x4.jpg", "older/a_x2.jpg", "older/.addsr/journal.jsonl")
    tree = find_photos(folder, folder / "out")
    assert tree.photos == ("a.jpg",)
    assert tree.skipped == {ADDSR_OUTPUT: 2}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_but_no_folder_is_visited_twice(root, tmp_path):
    folder, outside = root("deep/a.jpg"), tmp_path / "outside"
    outside.mkdir()
    (outside / "b.jpg").write_bytes(b"x")
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "again").symlink_to(folder / "deep")
    (folder / "more").symlink_to(outside)
    (folder / "link.jpg").symlink_to(folder / "deep" / "a.jpg")
    (folder / "broken.jpg").symlink_to(folder / "nowhere")
    tree = find_photos(folder, tmp_path / "out")
    assert tree.photos == ("broken.jpg", "deep/a.jpg", "link.jpg", "more/b.jpg")
    assert tree.skipped == {ALREADY_VISITED: 2}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_a_photo(root, tmp_path):
    folder = root("a.jpg")
    os.mkfifo(folder / "pipe.jpg")
    assert find_photos(folder, tmp_path / "out").photos == ("a.jpg",)


@pytest.mark.parametrize("name", ["missing", "a.jpg"])
def test_a_root_that_is_not_a_folder_is_refused(root, name):
    folder = root("a.jpg")
    with pytest.raises(UnreadableInput, match=name):
        find_photos(folder / name, folder / "out")
