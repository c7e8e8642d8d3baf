"""Tiny networks that answer in one pass, as files in the layouts of other programs."""

import re

import torch

from addsr_cli.models.single_pass.compact import Compact
from addsr_cli.models.single_pass.esrgan import Esrgan

LAYERS = {
    "new": {"first": "conv_first", "body_out": "conv_body", "hr": "conv_hr", "last": "conv_last"},
    "bsrgan": {
        "first": "conv_first",
        "body_out": "trunk_conv",
        "hr": "HRconv",
        "last": "conv_last",
    },
}
DENSE = {
    "new": "body.{}.rdb{}.conv{}",
    "bsrgan": "RRDB_trunk.{}.RDB{}.conv{}",
    "old": "model.1.sub.{}.RDB{}.conv{}.0",
}
UPSAMPLING = {"new": "conv_up{}", "bsrgan": "upconv{}"}


def tiny_esrgan(**sizes):
    """Return a network whose weights are large enough that every layer shows."""
    torch.manual_seed(0)
    net = Esrgan(**{"groups": 2, "width": 4, "growth": 2} | sizes)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    return net.eval().requires_grad_(False)


def tiny_compact(**sizes):
    torch.manual_seed(0)
    return Compact(**{"layers": 3, "width": 4} | sizes).eval().requires_grad_(False)


def published(net, layout):
    """Return the weights of an ``Esrgan`` under the names of a layout."""

    def name(layer):
        if match := re.fullmatch(r"body\.(\d+)\.(\d+)\.layers\.(\d+)", layer):
            group, block, place = map(int, match.groups())
            return DENSE[layout].format(group, block + 1, place + 1)
        if layout == "old":
            ups = len(net.ups)
            numbers = {up: 3 * (k + 1) for k, up in enumerate(net.ups)}
            numbers |= {"first": 0, "hr": 3 * ups + 2, "last": 3 * ups + 4}
            inside = f"1.sub.{len(net.body)}"
            return f"model.{inside if layer == 'body_out' else numbers[layer]}"
        if layer.startswith("up"):
            return UPSAMPLING[layout].format(layer[2:])
        return LAYERS[layout][layer]

    state = {}
    for key, value in net.state_dict().items():
        layer, _, kind = key.rpartition(".")
        state[f"{name(layer)}.{kind}"] = value
    return state


def save_esrgan_file(path, layout="new", entry="params_ema", **sizes):
    """Write a tiny network as other programs do; returns the path."""
    state = published(tiny_esrgan(**sizes), layout)
    torch.save({entry: state} if entry else state, path)
    return path


def save_compact_file(path, **sizes):
    torch.save({"params": tiny_compact(**sizes).state_dict()}, path)
    return path
