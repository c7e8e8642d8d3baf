import json

import numpy as np
from PIL import Image
from skimage import data


def test_what_is_protected_is_printed_and_recorded(upscale, tmp_path):
    Image.fromarray(data.astronaut()[::2, ::2]).save(tmp_path / "portrait.png")

    outcome = upscale("portrait.png", "-s", "1", "--protect", "faces", "--json")

    [area] = json.loads(outcome.out)["protected"]
    assert area["kind"] == "faces"
    assert abs(area["box"][0] + area["box"][2] / 2 - 111) < 10
    assert "protected: 1 face" in outcome.lines


def test_the_path_of_a_mask_is_not_embedded(upscale, photo):
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save("secret_mask.png")

    assert upscale(photo(), "-s", "2", "--protect", "secret_mask.png", "-o", "out.png").code == 0

    with Image.open("out.png") as image:
        assert not any("secret" in str(text) for text in image.info.values())


def test_a_word_that_is_no_part_is_an_error_of_usage(upscale, photo):
    outcome = upscale(photo(), "--protect", "hands")

    assert outcome.code == 2
    assert "neither faces, text nor a file" in outcome.err
