"""The loopback Hub with every component of the full models, built from the golden networks."""

import io
import tarfile
from dataclasses import replace
from functools import cache, partial

import torch
from bundles import GOLDEN, tagger_config
from loopback import Repo
from safetensors.torch import load, load_file, save

from addsr_cli.models.component import FileSpec, Source
from addsr_cli.models.seesr import installation
from addsr_cli.weights import download_plan
from addsr_cli.weights.components import COMPONENTS, MODEL_COMPONENTS

WEIGHTS = "diffusion_pytorch_model.safetensors"
SERVED = {
    "sd2-base": "org/sd2",
    "ram": "org/ram",
    "ram-tags": "org/tags",
    "dape": "org/dape",
    "seesr": "org/seesr",
    "sd-turbo": "org/turbo",
}


def read(part, name):
    return (GOLDEN / "models" / part / name).read_bytes()


def pair():
    return {
        f"{part}/{name}": read(part, name)
        for part in ("unet", "controlnet")
        for name in ("config.json", WEIGHTS)
    }


def pickled(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@cache
def ram():
    golden = load_file(GOLDEN / "ram_dape" / "ram_base.safetensors")
    return pickled({"model": {key: value.float() for key, value in golden.items()}})


@cache
def dape():
    return pickled(load_file(GOLDEN / "ram_dape" / "dape_lora.safetensors"))


def student(change=1.05):
    """The official pair with another UNet, as distillation would leave it."""
    state = load_file(GOLDEN / "models" / "unet" / WEIGHTS)
    return pair() | {f"unet/{WEIGHTS}": save({key: value * change for key, value in state.items()})}


def archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"addsr/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def base():
    """Stable Diffusion 2-base without its UNet."""
    files = {
        f"text_encoder/{name}": read("text_encoder", name)
        for name in ("config.json", "model.safetensors")
    }
    files |= {f"vae/{name}": read("vae", name) for name in ("config.json", WEIGHTS)}
    files |= {
        f"tokenizer/{path.name}": path.read_bytes()
        for path in (GOLDEN / "models" / "tokenizer").iterdir()
    }
    return files | {"scheduler/scheduler_config.json": read("scheduler", "scheduler_config.json")}


@cache
def turbo():
    """SD-Turbo: the same networks in half precision, without image attention."""
    files = {"unet/config.json": read("unet", "config.json")}
    for path, data in (base() | {f"unet/{WEIGHTS}": read("unet", WEIGHTS)}).items():
        if path.endswith(".safetensors"):
            state = {
                key: value.half()
                for key, value in load(data).items()
                if "image_attentions" not in key
            }
            files[path.replace(".safetensors", ".fp16.safetensors")] = save(state)
        elif not path.startswith("tokenizer"):
            files[path] = data
    return files


def repositories():
    sizes = tagger_config()
    lists = {"ram_tag_list.txt": sizes.tags, "ram_tag_list_threshold.txt": sizes.thresholds}
    return {
        "org/sd2": Repo(base()),
        "org/ram": Repo({"ram_swin_large_14m.pth": ram()}),
        "org/dape": Repo({"DAPE.pth": dape()}),
        "org/seesr": Repo({f"seesr/{path}": data for path, data in pair().items()}),
        "org/turbo": Repo(dict(turbo())),
        "org/tags": Repo(
            {name: "\n".join(map(str, values)).encode() for name, values in lists.items()}
        ),
    }


def served(name):
    """A component with the loopback Hub as its source, without the digests of the true weights."""
    known = COMPONENTS[name]
    files = tuple(FileSpec(path=file.path) for file in known.files)
    return replace(
        known,
        sources=(Source(repo=SERVED[name], prefix="seesr/" if name == "seesr" else ""),),
        files=files,
    )


def know(monkeypatch, local):
    """Replace components of the registry by ``local``."""
    for name, part in local.items():
        monkeypatch.setitem(COMPONENTS, name, part)
    for name, whole in MODEL_COMPONENTS.items():
        monkeypatch.setitem(MODEL_COMPONENTS, name, tuple(COMPONENTS[part.name] for part in whole))


def reach(server, monkeypatch):
    """Send all downloads of the program to this server."""
    for name in ("fetch", "request_manifest"):
        here = partial(
            getattr(download_plan.sources, name), endpoint=server.endpoint, offline=False
        )
        monkeypatch.setattr(download_plan.sources, name, here)


def fill(server, monkeypatch):
    """Serve every component; installed models work on small canvases."""
    server.repos = repositories()
    know(monkeypatch, {name: served(name) for name in SERVED})
    monkeypatch.setattr(
        installation,
        "SAMPLING_DEFAULTS",
        {
            name: replace(bundle, shortest_side=64)
            for name, bundle in installation.SAMPLING_DEFAULTS.items()
        },
    )
    monkeypatch.setattr(
        installation, "convert_tagger", partial(installation.convert_tagger, sizes=tagger_config())
    )
    reach(server, monkeypatch)
    return server
