"""StableSR's checkpoints: names and shapes at full size, conversion, download, refusals."""

import json
import os
from functools import partial

import pytest
import torch
from bundles import GOLDEN
from diffusers import AutoencoderKL, UNet2DConditionModel
from loopback import Repo
from safetensors.torch import save
from stablesr_samples import (
    HEAD_WIDTH,
    cfw,
    defaults,
    random_main,
    save_lightning,
    write_base,
)
from tiny_hub import know, reach
from torch.utils.flop_counter import FlopCounterMode

from addsr_cli.cli.app import run
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.checkpoint_reader import read_weights
from addsr_cli.models.checks import check_fit
from addsr_cli.models.component import Component, FileSpec, Source
from addsr_cli.models.stablesr import architecture, conversion, installation
from addsr_cli.models.stablesr.conditioned_unet import Adapter, ConditionedUNet, widths_of
from addsr_cli.models.stablesr.fused_decoder import FusedDecoder, fusion_widths
from addsr_cli.models.stablesr.official_names import (
    adapter_state,
    fusion_state,
    unet_state,
    vae_state,
)
from addsr_cli.models.stablesr.time_aware_encoder import EncoderConfig
from addsr_cli.settings import Machine, Settings
from addsr_cli.weights import installed
from addsr_cli.weights.components import COMPONENTS, PUBLISHED
from addsr_cli.weights.verify import verify

PARAMETERS = {"unet": 865_910_724, "adapter": 105_514_240, "vae": 83_653_863, "fusion": 44_393_728}


def published(*names):
    """Official names with tensors of the published shapes, without memory."""
    state = {}
    for name in names:
        keys = json.loads((GOLDEN / "fullsize_keys" / f"stablesr_{name}.json").read_text())["keys"]
        state |= {key: torch.empty(each["shape"], device="meta") for key, each in keys.items()}
    return state


def full_size(states):
    """UNet, adapter, VAE and fusion for weights of the published shapes, without memory."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(conversion._unet_config(states["unet"], 64))
        vae = AutoencoderKL.from_config(conversion._vae_config(states["vae"]))
        adapter = Adapter(EncoderConfig(), widths_of(unet))
        return unet, adapter, vae, FusedDecoder(fusion_widths(vae))


def test_the_published_checkpoints_have_the_names_and_shapes_of_our_networks():
    main, decoder = published("unet", "structcond"), published("cfw")
    states = {
        "unet": unet_state(main),
        "adapter": adapter_state(main),
        "vae": vae_state(decoder),
        "fusion": fusion_state(decoder),
    }
    assert len(main) == 862 + 200
    assert len(decoder) == len(states["vae"]) + len(states["fusion"]) == 404
    for (part, state), network in zip(states.items(), full_size(states), strict=True):
        check_fit({key: tuple(value.shape) for key, value in state.items()}, network)
        assert sum(value.numel() for value in state.values()) == PARAMETERS[part]
    assert conversion._encoder_config(states["adapter"]) == EncoderConfig()


def test_the_fusion_blocks_fit_the_vae_of_stable_diffusion_2():
    """By names and shapes: the VAE beside them is that of AddSR, SeeSR and SeeSR-Turbo."""
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        )
        fused = FusedDecoder(fusion_widths(vae))
    for network, state in ((vae, vae_state), (fused, fusion_state)):
        shapes = {key: tuple(value.shape) for key, value in state(published("cfw")).items()}
        check_fit(shapes, network)


def counted(run, *inputs):
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        run(*inputs)
    return counter.get_total_flops()


@pytest.mark.slow
def test_the_footprint_counts_the_operations_of_the_full_size_networks():
    main, decoder = published("unet", "structcond"), published("cfw")
    unet, adapter, vae, fused = full_size({"unet": unet_state(main), "vae": vae_state(decoder)})
    network = ConditionedUNet(unet, adapter)
    for network_part in (unet, adapter, vae, fused):
        network_part.eval()
    with torch.device("meta"):
        t, text = torch.empty(1), torch.empty(1, 77, 1024)
        for tile in (512, 768):
            z = torch.empty(1, 4, tile // 8, tile // 8)
            step = counted(lambda z=z: network(z, t, text, network.encode(z, t)))
            assert step / tile**2 == pytest.approx(architecture.step_flop(tile), rel=0.01)
        canvas, z = torch.empty(1, 3, 512, 512), torch.empty(1, 4, 64, 64)
        fusing = counted(fused.decode, vae, z, canvas, 0.5)
        codec = counted(vae.encode, canvas) + fusing
        assert codec / 512**2 == pytest.approx(architecture.CODEC_FLOP, rel=0.01)
        added = fusing - counted(vae.decode, z)
        assert added / 512**2 == pytest.approx(architecture.CFW.flop, rel=0.01)
        assert sum(each.numel() for each in fused.parameters()) == architecture.CFW.parameters


class Trap:
    """A malicious pickle, which runs a program when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_checkpoint_of_lightning_is_read_without_lightning_and_without_running_code(tmp_path):
    state = {"a": torch.arange(3.0)}
    read = read_weights(save_lightning(state, tmp_path / "ours.ckpt"))
    assert torch.equal(read["a"], state["a"])
    torch.save({"state_dict": state, "hook": Trap(tmp_path / "sprung")}, tmp_path / "evil.ckpt")
    with pytest.raises(ModelUnavailable, match="would run"):
        read_weights(tmp_path / "evil.ckpt")
    assert not (tmp_path / "sprung").exists()


def stock():
    return save(unet_state(random_main()))


def component(name, repo, path):
    known = COMPONENTS[name]
    return Component(
        name=name,
        title=known.title,
        sources=(Source(repo=repo),),
        files=(FileSpec(path=path),),
        licence=known.licence,
    )


@pytest.fixture
def stablesr_hub(server, monkeypatch, tmp_path):
    """A local Hub with small checkpoints of StableSR, full and without the stock UNet."""
    files = {}
    checkpoints = {"stablesr_000117.ckpt": random_main(), "vqgan_cfw_00011.ckpt": cfw()}
    for path, state in checkpoints.items():
        files[path] = save_lightning(state, tmp_path / path).read_bytes()
    trained = {
        key: each for key, each in random_main().items() if ".spade." in key or "struct" in key
    }
    files["webui_768v_139.safetensors"] = save(trained)
    base = write_base(tmp_path / "base")
    base_files = {
        path.relative_to(base).as_posix(): path.read_bytes()
        for path in base.rglob("*")
        if path.is_file()
    }
    unet = "unet/diffusion_pytorch_model.safetensors"
    server.repos = {
        "org/stablesr": Repo(files),
        "org/sd2": Repo(base_files),
        "org/sd21": Repo({unet: stock()}),
    }
    sd2 = COMPONENTS["sd2-base"]
    local = {
        "stablesr-checkpoint": component(
            "stablesr-checkpoint", "org/stablesr", "stablesr_000117.ckpt"
        ),
        "stablesr-cfw": component("stablesr-cfw", "org/stablesr", "vqgan_cfw_00011.ckpt"),
        "stablesr-768v-trained": component(
            "stablesr-768v-trained", "org/stablesr", "webui_768v_139.safetensors"
        ),
        "sd2.1-unet": component("sd2.1-unet", "org/sd21", unet),
        "sd2-base": Component(
            name="sd2-base",
            title=sd2.title,
            sources=(Source(repo="org/sd2"),),
            files=tuple(FileSpec(path=path) for path in base_files),
            licence=sd2.licence,
        ),
    }
    know(monkeypatch, local)
    small = {name: defaults() for name in installation.SAMPLING_DEFAULTS}
    small["stablesr-768v"] = defaults(steps=2, prediction="v", fidelity=0.0)
    monkeypatch.setattr(installation, "SAMPLING_DEFAULTS", small)
    sized = partial(conversion.build_stablesr, head_width=HEAD_WIDTH)
    monkeypatch.setattr(installation, "build_stablesr", sized)
    reach(server, monkeypatch)
    return server


def test_a_pulled_model_names_its_licence_first_upscales_and_is_intact(stablesr_hub, capfd):
    assert run(["models", "pull", "stablesr", "--dtype", "fp32"]) == 0
    told = capfd.readouterr().err
    assert told.index("non-commercial") < told.index("converting")
    assert all(each.state == "intact" for each in verify("stablesr"))
    record = Bundle.read(installed.model_folder("stablesr"))
    assert (record.arch, record.scheduler) == ("stablesr", "linspace")
    upscaler = Upscaler("stablesr", Machine(device="cpu", precision="fp32"))
    photo = torch.rand(32, 32, 3).numpy()
    results = [upscaler.upscale(photo, Settings(fidelity=dial, steps=1)) for dial in (None, 0.0)]
    assert upscaler.steps(Settings(fidelity=1.0)) == 4  # it is a dial of the decoder alone
    assert [result.fidelity for result in results] == [0.5, 0.0]
    assert results[0].image.size == (128, 128)
    own, plain = (torch.from_numpy(result.photo.rgb) for result in results)
    assert not torch.equal(own, plain)
    assert "fidelity=0.5" in results[0].provenance()["Comment"]


def test_the_small_route_takes_the_stock_unet(stablesr_hub, capfd):
    assert run(["models", "pull", "stablesr-768v-small", "--dtype", "fp32"]) == 0
    folder = installed.model_folder("stablesr-768v-small")
    small = read_weights(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(small[key], value) for key, value in unet_state(random_main()).items())
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "v_prediction"
    upscaler = Upscaler("stablesr-768v-small", Machine(device="cpu", precision="fp32"))
    assert upscaler.spec.default_steps == 2


def test_a_full_checkpoint_is_compared_with_the_stock_unet(tmp_path):
    full = save_lightning(random_main(), tmp_path / "full.ckpt")
    (tmp_path / "stock.safetensors").write_bytes(stock())
    assert conversion.differences(full, tmp_path / "stock.safetensors") == []
    changed = unet_state(random_main())
    changed["conv_in.bias"] = changed["conv_in.bias"] + 1
    (tmp_path / "other.safetensors").write_bytes(save(changed))
    assert conversion.differences(full, tmp_path / "other.safetensors") == ["conv_in.bias"]


def test_every_model_of_stablesr_is_listed_with_its_licence():
    for name in ("stablesr", "stablesr-turbo", "stablesr-768v", "stablesr-768v-small"):
        assert "non-commercial" in PUBLISHED[name].licence
