"""A component of two files, as the loopback Hub serves it."""

import random

from addsr_cli.models.component import Component, FileSpec, Source

MIB = 2**20
WEIGHTS = random.Random(0).randbytes(3 * MIB)
SMALL = b'{"sample_size": 64}'
BIG = "unet/model.safetensors"
FILES = {"unet/config.json": SMALL, BIG: WEIGHTS}


def component(*names, files=None, **more):
    sources = tuple(
        name if isinstance(name, Source) else Source(repo=f"org/{name}")
        for name in names or ("first",)
    )
    files = files or tuple(FileSpec(path=path) for path in FILES)
    return Component(
        name="demo", title="Demo weights", licence="none", sources=sources, files=files, **more
    )


def holds(folder, files=FILES):
    return all((folder / path).read_bytes() == data for path, data in files.items())
