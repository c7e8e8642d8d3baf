"""From official files to a bundle: equal outputs, complete files, refusals of wrong files."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from bundles import GOLDEN, tagger_config, write_bundle
from safetensors.torch import load_file, save_file

from addsr_cli.errors import ModelUnavailable, OutputRefused
from addsr_cli.models.bundle import Bundle, PromptDefaults
from addsr_cli.models.seesr import conversion
from addsr_cli.models.seesr.archive import NetworkFolders, find_networks
from addsr_cli.models.seesr.conversion import build_bundle, convert_tagger, read_weights, turbo_unet
from addsr_cli.models.seesr.loading import load_bundle
from addsr_cli.models.seesr.tagger import first_view
from addsr_cli.models.seesr.tagger_weights import load_tagger
from addsr_cli.weights.loader import locate

MODELS, RAM_DAPE = GOLDEN / "models", GOLDEN / "ram_dape"
WEIGHTS = "diffusion_pytorch_model.safetensors"
SIZES = tagger_config()
IMAGE_READER = re.compile(r"image_attentions.*attn2\.to_[kv]\.weight")


class Trap:
    """A malicious pickle, which runs a program when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """RAM, DAPE and both lists, as their authors publish them."""
    folder = tmp_path_factory.mktemp("official")
    model = load_file(RAM_DAPE / "ram_base.safetensors")
    floats = {
        key: value.float() if value.is_floating_point() else value for key, value in model.items()
    }
    torch.save({"model": floats, "epoch": 9, "config": {"lr": [1e-4]}}, folder / "ram.pth")
    torch.save(load_file(RAM_DAPE / "dape_lora.safetensors"), folder / "DAPE.pth")
    (folder / "tags.txt").write_text("\n".join(SIZES.tags))
    (folder / "thresholds.txt").write_text("\n".join(map(str, SIZES.thresholds)) + "\n")
    return folder


def tagger_of(official, folder, dape="DAPE.pth", **options):
    files = (
        official / "ram.pth",
        dape and official / dape,
        official / "tags.txt",
        official / "thresholds.txt",
    )
    return convert_tagger(*files, folder, **{"sizes": SIZES, "dtype": torch.float32} | options)


@pytest.fixture(scope="module")
def tagger(official, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "tagger"
    tagger_of(official, folder)
    return folder


@pytest.fixture
def build(tagger, tmp_path):
    """``build_bundle`` with the golden networks where the test passes no others."""

    def call(**options):
        base_options = {
            "networks": NetworkFolders(unet=MODELS / "unet", controlnet=MODELS / "controlnet"),
            "base": MODELS,
            "tagger": tagger,
            "output": tmp_path / "converted" / "bundle",
            "name": "addsr",
            "licence": "Apache-2.0",
            "source": {"repo": "somewhere", "commit": "0" * 40},
        }
        return build_bundle(**base_options | options)

    return call


def changed(folder, kind, change, config=None):
    """A copy of a golden folder with other weights, other configuration."""
    target = folder / f"altered_{kind}"
    shutil.copytree(MODELS / kind, target)
    state = load_file(target / WEIGHTS)
    save_file(change(state) or state, target / WEIGHTS)
    configuration = json.loads((target / "config.json").read_text()) | (config or {})
    (target / "config.json").write_text(json.dumps(configuration))
    return target


def states(folder):
    """Every tensor of a bundle."""
    return {
        f"{path.parent.name}.{key}": value
        for path in folder.rglob("*.safetensors")
        for key, value in load_file(path).items()
    }


def predictions(folder, rounded=False):
    """Outputs of a bundle for a golden case: UNet and ControlNet, a text's tokens, a picture."""
    seesr = load_bundle(folder)
    for net in (seesr.unet, seesr.controlnet, seesr.vae, seesr.text.model) if rounded else ():
        net.half().float()
    case = load_file(GOLDEN / "unet_controlnet" / "b_odd_size_scale07.safetensors")
    text, image = case["in.encoder_hidden_states"], case["in.image_encoder_hidden_states"]
    with torch.no_grad():
        eps = seesr._predict(
            case["in.sample"], case["in.timestep"], case["in.controlnet_cond"], text, image, 1.0
        )
        return [eps, seesr.text.encode("tree, lake"), seesr.decode(case["in.sample"][:, :, :8, :8])]


def leftovers(folder):
    return [path for path in folder.rglob("*") if ".part" in path.name]


# --- bundles


def test_the_authors_archive_becomes_a_bundle_with_equal_outputs_in_half_precision(build, tmp_path):
    with zipfile.ZipFile(tmp_path / "addsr.zip", "w") as archive:
        for path in [
            source for kind in ("unet", "controlnet") for source in (MODELS / kind).iterdir()
        ]:
            archive.write(path, f"AddSR/release/addsr/{path.parent.name}/{path.name}")
    folder = build(networks=find_networks(tmp_path / "addsr.zip", tmp_path / "scratch"))
    weights = states(folder)
    assert {value.dtype for key, value in weights.items() if not key.startswith("tagger.")} == {
        torch.float16
    }
    original, ours = write_bundle(tmp_path / "original"), predictions(folder)
    for tolerance, theirs in (
        (1e-6, predictions(original, rounded=True)),
        (2e-2, predictions(original)),
    ):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine - other).abs().max() <= tolerance * max(1.0, float(other.abs().max()))
    assert locate(str(folder)).spec.name == "addsr"
    assert Bundle.read(folder).parameters == sum(value.numel() for value in weights.values())


def test_in_full_precision_every_number_stays(build, tmp_path):
    weights = states(build(dtype=torch.float32))
    original = states(write_bundle(tmp_path / "original"))
    assert weights.keys() == original.keys()
    assert all(torch.equal(value, original[key].float()) for key, value in weights.items())


def test_pickled_weights_under_names_of_a_training_run_give_the_same_bundle(build, tmp_path):
    for kind, name in (("unet", "unet_0"), ("controlnet", "controlnet_1")):
        folder = tmp_path / "checkpoint-100" / name
        folder.mkdir(parents=True)
        shutil.copy(MODELS / kind / "config.json", folder)
        torch.save(load_file(MODELS / kind / WEIGHTS), folder / "diffusion_pytorch_model.bin")
    pair = find_networks(tmp_path, tmp_path / "scratch")
    converted, reference = build(networks=pair), build(output=tmp_path / "usual")
    assert Bundle.read(converted).digest == Bundle.read(reference).digest


def test_leftovers_of_training_are_dropped(build, tmp_path):
    unet = changed(
        tmp_path, "unet", lambda state: state.update({"align.proj.weight": torch.zeros(3)})
    )
    converted = build(networks=NetworkFolders(unet=unet, controlnet=MODELS / "controlnet"))
    assert (
        load_file(converted / "unet" / WEIGHTS).keys()
        == load_file(MODELS / "unet" / WEIGHTS).keys()
    )


def test_only_needed_files_of_components_are_copied_and_pickles_are_converted(build, tmp_path):
    components = shutil.copytree(MODELS, tmp_path / "components")
    state = load_file(components / "text_encoder" / "model.safetensors")
    ids = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    torch.save(state | ids, components / "text_encoder" / "pytorch_model.bin")
    (components / "text_encoder" / "model.safetensors").unlink()
    torch.save({"x": torch.zeros(1)}, components / "vae" / "diffusion_pytorch_model.bin")
    converted = build(base=components)
    names = {
        str(path.relative_to(converted))
        for part in ("vae", "text_encoder")
        for path in (converted / part).iterdir()
    }
    assert names == {
        f"vae/{WEIGHTS}",
        "vae/config.json",
        "text_encoder/model.safetensors",
        "text_encoder/config.json",
    }
    stored = load_file(converted / "text_encoder" / "model.safetensors")
    assert torch.equal(stored["text_model.embeddings.position_ids"], *ids.values())
    assert (converted / "tokenizer" / "vocab.json").read_bytes() == (
        MODELS / "tokenizer" / "vocab.json"
    ).read_bytes()


def test_the_import_is_on_record(build):
    message = PromptDefaults(added_prompt="clean")
    converted = build(
        defaults=Bundle(
            name="not this",
            parameters=1,
            default_steps=50,
            shortest_side=64,
            prompt_defaults=message,
        )
    )
    record = Bundle.read(converted)
    assert (record.name, record.licence, record.default_steps, record.shortest_side) == (
        "addsr",
        "Apache-2.0",
        50,
        64,
    )
    assert record.prompt_defaults.added_prompt == "clean"
    history = json.loads((converted / "import.json").read_text())
    assert history["source"] == {"repo": "somewhere", "commit": "0" * 40}
    assert (
        history["inputs"][f"unet/{WEIGHTS}"]
        == hashlib.sha256((MODELS / "unet" / WEIGHTS).read_bytes()).hexdigest()
    )
    assert {name.split("/")[0] for name in history["inputs"]} == {
        *conversion.FILE_NAMES,
        "tokenizer",
        "tagger",
    }
    assert history["addsr"]
    assert len(history["date"]) == 10


def test_an_existing_output_is_never_touched(build, tmp_path):
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "mine").touch()
    with pytest.raises(OutputRefused, match="exists already"):
        build(output=tmp_path / "occupied")
    assert [path.name for path in (tmp_path / "occupied").iterdir()] == ["mine"]


def test_a_full_disk_is_noticed_before_anything_is_written(build, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1_000_000}))
    monkeypatch.setattr(conversion, "save_file", None)
    with pytest.raises(OutputRefused, match=r"needs \d+ MB, but .* has 1 MB free"):
        build()
    assert not list((tmp_path / "converted").iterdir())


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["disk", "ctrl-c"]
)
def test_whatever_interrupts_it_nothing_half_done_is_left(error, build, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Bundle, "write", fail)
    with pytest.raises((OutputRefused, KeyboardInterrupt)):
        build()
    assert not list((tmp_path / "converted").iterdir())


# --- refusals


def wider(state):
    """Widen the text tokens in every layer that reads them, as in another model family."""
    for key, value in list(state.items()):
        if ".attentions." in key and key.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            state[key] = torch.zeros(value.shape[0], 16)


def without_image_attention(state):
    return {key: value for key, value in state.items() if "image_attentions" not in key}


def without_bias(state):
    del state["conv_in.bias"]


def with_infinity(state):
    state["conv_in.bias"][0] = 1e6  # beyond float16


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (
            without_image_attention,
            {},
            "UNet has no image attention: it is a plain Stable Diffusion one",
        ),
        (
            wider,
            {"cross_attention_dim": 16},
            "do not belong together: text tokens of UNet, .* are 16, 20, 20 wide",
        ),
        (wider, {}, "UNet does not fit: of another shape"),
        (without_bias, {}, "UNet does not fit: missing: conv_in.bias"),
        (lambda _: None, {"block_out_channels": [8, 16]}, "does not describe a UNet|does not fit"),
        (lambda _: None, {"norm_num_groups": 7}, r"config\.json does not describe a UNet"),
        (
            lambda _: None,
            {"_class_name": "ControlNetModel"},
            "given as UNet, but holds a ControlNetModel",
        ),
        (with_infinity, {}, "weights that are not numbers in torch.float16: conv_in.bias"),
    ],
    ids=["plain", "SD1.5", "shapes", "missing", "blocks", "nonsense", "class", "infinite"],
)
def test_a_unet_that_is_not_one_of_ours_is_refused(change, config, message, build, tmp_path):
    unet = changed(tmp_path, "unet", change, config)
    with pytest.raises(ModelUnavailable, match=message) as caught:
        build(networks=NetworkFolders(unet=unet, controlnet=MODELS / "controlnet"))
    assert caught.value.hint
    assert not leftovers(tmp_path)
    assert not (tmp_path / "converted" / "bundle").exists()


def test_swapped_folders_are_refused_even_without_a_class_name_in_their_configurations(
    build, tmp_path
):
    with pytest.raises(
        ModelUnavailable, match="given as UNet, but holds a ControlNetModel"
    ) as caught:
        build(networks=NetworkFolders(unet=MODELS / "controlnet", controlnet=MODELS / "unet"))
    assert "Swap" in caught.value.hint
    silent = changed(tmp_path, "controlnet", lambda _: None)
    configuration = json.loads((silent / "config.json").read_text())
    (silent / "config.json").write_text(
        json.dumps({key: configuration[key] for key in configuration if key != "_class_name"})
    )
    with pytest.raises(ModelUnavailable, match="UNet does not fit: missing"):
        build(networks=NetworkFolders(unet=silent, controlnet=silent))


def test_a_tagger_of_other_sizes_is_refused(build, official, tmp_path):
    original = tagger_of(official, tmp_path / "other")
    config, file = tmp_path / "other" / "config.json", tmp_path / "other" / "model.safetensors"
    config.write_text(json.dumps(original.to_json() | {"tags": ["one"]}))
    with pytest.raises(ModelUnavailable, match="1 tags need as many thresholds, not 40"):
        build(tagger=tmp_path / "other")
    config.write_text(json.dumps(original.to_json()))
    save_file({key: value for key, value in load_file(file).items() if key != "fc.bias"}, file)
    with pytest.raises(ModelUnavailable, match=r"lacks 1 of .* fc\.bias"):
        build(tagger=tmp_path / "other")


def test_a_tagger_whose_tokens_the_networks_cannot_read_is_refused(build, tmp_path):
    def narrow(state):
        return {
            k: v[:, :256].contiguous() if IMAGE_READER.search(k) else v for k, v in state.items()
        }

    pair = NetworkFolders(
        unet=changed(tmp_path, "unet", narrow), controlnet=changed(tmp_path, "controlnet", narrow)
    )
    with pytest.raises(
        ModelUnavailable, match="image tokens of UNet, ControlNet, tagger are 256, 256, 512 wide"
    ):
        build(networks=pair)
    assert not leftovers(tmp_path)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("vae", "vae holds no weights"),
        ("text_encoder/config.json", "cannot be read"),
        ("tokenizer/merges.txt", "lacks merges.txt"),
    ],
)
def test_missing_components_are_named(missing, message, build, tmp_path):
    components = shutil.copytree(MODELS, tmp_path / "components")
    shutil.rmtree(components / missing) if (components / missing).is_dir() else (
        components / missing
    ).unlink()
    with pytest.raises(ModelUnavailable, match=message):
        build(base=components)


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_the_teacher_is_no_student_in_whatever_precision(stored, build):
    teacher = {key: value.to(stored) for key, value in load_file(MODELS / "unet" / WEIGHTS).items()}
    with pytest.raises(ModelUnavailable, match="SeeSR's, the 50-step teacher"):
        build(teacher=teacher)


def test_under_its_own_name_the_teacher_is_welcome(build):
    assert build(teacher=load_file(MODELS / "unet" / WEIGHTS), name="seesr")


def test_a_student_differs_from_its_teacher_in_one_weight_at_least(build):
    teacher = load_file(MODELS / "unet" / WEIGHTS)
    teacher["mid_block.image_attentions.0.norm.bias"] += 1
    assert build(teacher=teacher)


# --- weights files


def test_all_ways_of_storing_weights_read_the_same(tmp_path):
    state = {"a": torch.randn(3, 4), "b": torch.arange(5)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.bin")
    torch.save({"model": state, "epoch": 1, "config": {"x": [1]}}, tmp_path / "c.pth")
    torch.save(state, tmp_path / "d.pth", _use_new_zipfile_serialization=False)
    for path in sorted(tmp_path.glob("?.*")):
        read = read_weights(path)
        assert read.keys() == state.keys()
        assert all(torch.equal(value, state[key]) for key, value in read.items())


@pytest.mark.parametrize("modern", [True, False])
def test_a_malicious_pickle_is_named_and_not_run(modern, tmp_path):
    torch.save(
        {"a": torch.ones(3), "x": Trap(tmp_path / "ran")},
        tmp_path / "x.bin",
        _use_new_zipfile_serialization=modern,
    )
    with pytest.raises(
        ModelUnavailable, match=f"loading it would run {os.system.__module__}.system"
    ):
        read_weights(tmp_path / "x.bin")
    assert not (tmp_path / "ran").exists()


def test_a_web_page_in_place_of_weights_is_refused(tmp_path):
    (tmp_path / "x.pth").write_text("<!DOCTYPE html><html>Quota exceeded</html>")
    with pytest.raises(ModelUnavailable, match="is a web page, not weights"):
        read_weights(tmp_path / "x.pth")


def cut(path, count):
    path.write_bytes(path.read_bytes()[:count])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        (
            "x.safetensors",
            lambda p: (save_file({"a": torch.ones(99)}, p), cut(p, 200)),
            "is damaged",
        ),
        ("x.bin", lambda p: (torch.save({"a": torch.ones(99)}, p), cut(p, 500)), "is damaged"),
        (
            "x.pth",
            lambda p: (torch.save([1], p, _use_new_zipfile_serialization=False), cut(p, 40)),
            "is damaged",
        ),
        (
            "x.pth",
            lambda p: p.write_text("version https://git-lfs.github.com/spec/v1"),
            "not a PyTorch checkpoint",
        ),
        (
            "x.safetensors",
            lambda p: torch.save({"a": torch.ones(9)}, p),
            "is damaged or holds no weights",
        ),
        ("x.pth", lambda p: torch.save([torch.ones(3)], p), "does not hold named weights"),
        ("x.pth", lambda p: torch.save({}, p), "does not hold named weights"),
        (
            "x.pth",
            lambda p: torch.save({"a": torch.ones(3), "b": 3}, p),
            "does not hold named weights",
        ),
        ("x.pth", lambda p: p.touch(), "is empty"),
        ("x.pth", lambda p: None, "cannot be read: No such file"),
    ],
)
def test_files_that_hold_no_weights_are_refused(name, make, message, tmp_path):
    make(tmp_path / name)
    with pytest.raises(ModelUnavailable, match=message) as caught:
        read_weights(tmp_path / name)
    assert caught.value.hint


# --- the tagger


def tokens_of(folder, config):
    tagger = load_tagger(config, load_file(folder / "model.safetensors"))
    small = load_file(RAM_DAPE / "tensors.safetensors")["in.image_small_uint8"]
    seen = small.repeat_interleave(8, dim=2).repeat_interleave(6, dim=3) / 255
    tokens = tagger.tokens(first_view(seen, config.image_size))
    return tokens, tagger.logits(tokens)


def test_the_converted_tagger_speaks_as_the_official_one(official, tmp_path):
    config = tagger_of(official, tmp_path / "converted")
    golden = load_file(RAM_DAPE / "tensors.safetensors")
    tokens, logits = tokens_of(tmp_path / "converted", config)
    assert (tokens - golden["out.dape.image_embeds"]).abs().max() <= 1e-5
    assert (logits - golden["out.dape.logits"]).abs().max() <= 1e-5
    assert (config.tags, config.thresholds) == (SIZES.tags, SIZES.thresholds)


def test_without_dape_it_is_plain_ram(official, tmp_path):
    config = tagger_of(official, tmp_path / "converted", dape=None)
    tokens, _ = tokens_of(tmp_path / "converted", config)
    assert (
        tokens[:, ::4] - load_file(RAM_DAPE / "tensors.safetensors")["out.ram.image_embeds_sub4"]
    ).abs().max() <= 1e-5


def test_by_default_it_is_stored_in_half_precision(official, tmp_path):
    tagger_of(official, tmp_path / "converted", dtype=torch.float16)
    assert {
        value.dtype for value in load_file(tmp_path / "converted" / "model.safetensors").values()
    } == {torch.float16}


def test_without_sizes_only_the_published_ram_is_accepted(official, tmp_path):
    with pytest.raises(ModelUnavailable, match="RAM checkpoint"):
        tagger_of(official, tmp_path / "converted", sizes=None)
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("tags.txt", "one\ntwo\n", "do not match: 2 tags, 40 thresholds"),
        ("tags.txt", "one\n\nthree" + "\nx" * 37, "do not match"),
        ("tags.txt", "", "do not match: 0 tags"),
        ("thresholds.txt", "0.5\n" * 39 + "1.5", "do not match"),
        ("thresholds.txt", "0.5\n" * 39 + "many", "is not RAM's list"),
        ("thresholds.txt", None, "is not RAM's list"),
    ],
)
def test_lists_that_do_not_match_are_refused(file, text, message, official, tmp_path):
    folder = shutil.copytree(official, tmp_path / "lists")
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(ModelUnavailable, match=message):
        tagger_of(folder, tmp_path / "converted")


# --- SeeSR-Turbo


def test_turbo_takes_its_image_attention_from_seesr():
    seesr = load_file(MODELS / "unet" / WEIGHTS)
    turbo = {key: value.half() + 1 for key, value in without_image_attention(seesr).items()}
    converted = turbo_unet(turbo, seesr)
    assert converted.keys() == seesr.keys()
    assert all(
        value is (seesr if "image_attentions" in key else turbo)[key]
        for key, value in converted.items()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda turbo, _: turbo.pop("conv_in.bias"), "conv_in.bias"),
        (lambda turbo, _: turbo.update(extra=torch.zeros(1)), "extra"),
        (lambda turbo, _: turbo.update({"conv_in.bias": torch.zeros(2)}), "conv_in.bias"),
        (lambda _, seesr: seesr.pop("conv_in.bias"), "conv_in.bias"),
        (lambda turbo, seesr: turbo.update(seesr), "image_attentions"),
        (
            lambda turbo, seesr: (seesr.clear(), seesr.update(turbo)),
            "no image attention in the second",
        ),
    ],
)
def test_turbo_is_strict_about_leftovers(change, message):
    seesr = load_file(MODELS / "unet" / WEIGHTS)
    turbo = without_image_attention(seesr)
    change(turbo, seesr)
    with pytest.raises(ModelUnavailable, match=f"does not fit SeeSR's: .*{message}"):
        turbo_unet(turbo, seesr)


# --- memory

WRITE = """
import json, sys, torch
from pathlib import Path
folder = Path(sys.argv[1])
keys = json.loads(Path(sys.argv[2]).read_text())["keys"]
tensors = {k: torch.full(e["shape"], 0.01) for k, e in keys.items()}
lora = {
    k: torch.zeros_like(v) if "coder." in k and k.endswith("B") else v
    for k, v in tensors.items()
    if "lora_" in k
}
idle = {
    k: torch.zeros_like(v) if k.startswith(("tag_encoder", "text_decoder")) else v
    for k, v in lora.items()
}
ram = {k: v for k, v in tensors.items() if k not in lora}
torch.save({"model": ram, "epoch": 1}, folder / "ram.pth")
torch.save(idle, folder / "DAPE.pth")
(folder / "tags.txt").write_text("\\n".join(f"tag {i}" for i in range(4585)))
(folder / "thresholds.txt").write_text("0.65\\n" * 4585)
"""
CONVERT = """
import resource, sys
from pathlib import Path
from addsr_cli.models.seesr.conversion import convert_tagger
f = Path(sys.argv[1])
convert_tagger(f / "ram.pth", f / "DAPE.pth", f / "tags.txt", f / "thresholds.txt", f / "tagger")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_at_full_size_the_tagger_takes_little_more_memory_than_its_file_is_large(tmp_path):
    def python(code, *arguments):
        env = os.environ | {"PYTHONPATH": str(Path(conversion.__file__).parents[3])}
        result = subprocess.run(
            [sys.executable, "-c", code, tmp_path, *arguments],
            capture_output=True,
            text=True,
            env=env,
            check=True,
        )
        return result.stdout

    python(WRITE, GOLDEN / "fullsize_keys" / "ram_dape_full_module.json")
    size = (tmp_path / "ram.pth").stat().st_size
    peak = int(python(CONVERT))
    print(f"\nfile {size / 1e9:.2f} GB, peak {peak / 1e9:.2f} GB, {peak / size:.2f} times")
    (tmp_path / "ram.pth").unlink()
    stored = load_file(tmp_path / "tagger" / "model.safetensors")
    assert sum(value.numel() for value in stored.values()) == 212_117_045
    assert peak <= 1.3 * size
