import os

import pytest
from PIL import Image

from addsr_cli.batch.config import BatchConfig
from addsr_cli.batch.naming import file_seed
from addsr_cli.batch.work_queue import TaskReader
from addsr_cli.engine.job import Naming
from addsr_cli.errors import OutputRefused
from addsr_cli.imageio import WriteOptions
from addsr_cli.settings import Settings


@pytest.fixture
def outputs(tmp_path):
    """Create photos of these names and return the names of their outputs."""

    def output_names(*inputs, format="PNG", template="{stem}_x{scale}{ext}", samples=1):
        for name in inputs:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6)).save(path)
        config = BatchConfig(
            root=tmp_path / "in",
            output=tmp_path / "out",
            settings=Settings(),
            options=WriteOptions(format=format),
            naming=Naming(template=template, model="nano", steps=1, samples=samples),
            model_sha256="",
        )
        return [task.output for task in TaskReader(config).tasks(sorted(inputs))]

    return output_names


def test_the_tree_is_mirrored(outputs):
    assert outputs("a.jpg", "sub/a.jpg", format=None) == ["a_x4.jpg", "sub/a_x4.jpg"]


def test_colliding_names_get_the_suffix_of_the_input(outputs):
    assert outputs("a.jpg", "a.png", "b.png") == ["a_jpg_x4.png", "a_png_x4.png", "b_x4.png"]


def test_names_that_still_collide_get_a_hash(outputs):
    names = outputs("a.jpg", "a.png", "a_jpg.png")
    assert len({name.lower() for name in names}) == 3
    assert names[1] == "a_png_x4.png"


@pytest.mark.skipif(os.path.normcase("A") == "a", reason="the file system takes them for one")
def test_names_that_differ_only_in_case_collide(outputs):
    names = outputs("a.jpg", "A.jpg")
    assert len({name.lower() for name in names}) == 2


def test_composed_and_decomposed_letters_collide(outputs):
    names = outputs("\u00e4.jpg", "a\u0308.png")
    assert names == ["a\u0308_png_x4.png", "\u00e4_jpg_x4.png"]


def test_a_name_depends_only_on_the_names_in_the_tree(outputs):
    assert outputs("b.png", "a.png", "a.jpg") == outputs("a.jpg", "a.png", "b.png")


def test_a_very_long_name_is_cut_and_stays_unique(outputs):
    first, second = outputs("ä" * 125 + "1.png", "ä" * 125 + "2.png")
    assert first != second
    assert all(200 < len(os.fsencode(name)) <= 255 for name in (first, second))
    assert first.startswith("ääää")
    assert first.endswith("_x4.png")


def test_samples_have_different_names(outputs):
    assert len(set(outputs("a.jpg", samples=3))) == 3


@pytest.mark.parametrize(("template", "samples"), [("same{ext}", 1), ("{stem}.png", 2)])
def test_a_template_without_distinct_names_is_refused(outputs, template, samples):
    with pytest.raises(OutputRefused, match="both become"):
        outputs("a.jpg", "b.jpg", template=template, samples=samples)


def test_a_seed_depends_on_the_path_and_the_users_seed():
    seeds = {
        file_seed(0, "a.jpg"),
        file_seed(1, "a.jpg"),
        file_seed(0, "sub/a.jpg"),
        file_seed(0, "b.jpg"),
    }
    assert len(seeds) == 4
    assert file_seed(0, "a.jpg") == 4166384440  # a change would make every resumed batch a mixture
