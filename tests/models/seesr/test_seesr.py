"""The official pipeline from tensors: encode, sample, refine, decode, in all recorded variants."""

import json
from dataclasses import replace

import pytest
import torch
from bundles import GOLDEN, write_bundle
from safetensors.torch import load_file

from addsr_cli.engine.tiling import Tiled
from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.restorer import Conditioning, batched
from addsr_cli.models.seesr.loading import load_bundle
from addsr_cli.models.seesr.tagger import psr_view
from addsr_cli.models.seesr.text_encoder import TextEncoder, assemble
from addsr_cli.noise import placed_noise, stacked_noise
from addsr_cli.sampler import cpu_noise, sample
from addsr_cli.schedule import STEPS
from addsr_cli.settings import PromptSettings

PLAIN = ("pipe_lr_psr", "pipe_lr_psr0", "pipe_lr_default_psr", "pipe_noise_psr", "pipe_noise_psr1")


@pytest.fixture(scope="module")
def seesr(tmp_path_factory):
    return load_bundle(write_bundle(tmp_path_factory.mktemp("bundle")))


def case(name):
    folder = GOLDEN / name
    return load_file(folder / "tensors.safetensors"), json.loads(
        (folder / "tensors.json").read_text()
    )


def close(ours, golden, most=1e-4):
    assert ours.shape == golden.shape
    assert (ours - golden).abs().max() <= most * max(1.0, float(golden.abs().max()))


class Recorded:
    """The network with the tagger's recorded outputs; records its inputs and outputs."""

    def __init__(self, inner, golden):
        self.inner, self.golden = inner, golden
        self.schedule, self.factor, self.channels = inner.schedule, inner.factor, inner.channels
        self.exact_codec, self.halo = inner.exact_codec, inner.halo
        self.latent_control = inner.latent_control
        self.encode, self.decode, self.describe = inner.encode, inner.decode, inner.describe
        self.calls, self.seen = [], []

    def embed(self, image, cond):
        self.seen.append(image)
        return replace(cond, image=self.golden[f"in.ram_step.{STEPS[len(self.seen)]}"])

    def denoise(self, z, t, control, cond):
        output = self.inner.denoise(z, t, control, cond)
        self.calls.append((z, output, control))
        return output


def noises(golden, start):
    """Return the recorded draws in the order in which the sampler uses them."""
    posterior = [golden["in.vae_posterior_noise"]] if start == "lr" else []
    draws = iter([golden["in.latents"], *posterior, *(golden[f"in.noise.{t}"] for t in STEPS[1:])])
    return lambda shape: next(draws)


def canvas_of(golden):
    return golden["in.image"] if "in.image" in golden else golden["in.image_u8"].float() / 255


def go(restorer, golden, notes, cond=None, steps=4):
    call = notes["call"]
    scale = call.get("conditioning_scale", 1.0)
    default_conditioning = Conditioning(
        text=golden.get("in.prompt_embeds"),
        image=golden["in.ram_encoder_hidden_states"],
        conditioning_scale=scale,
    )
    estimates = []
    image = sample(
        restorer,
        canvas_of(golden),
        cond or default_conditioning,
        timesteps=STEPS[:steps],
        noise=noises(golden, call["start_point"]),
        psr=notes["PSR_weight_used"],
        start=call["start_point"],
        on_step=lambda k, z0: estimates.append(z0),
    )
    return image, estimates


@pytest.mark.parametrize("name", PLAIN)
def test_the_pipeline_is_the_official_one_step_by_step(seesr, name):
    golden, notes = case(name)
    restorer = Recorded(seesr, golden)
    image, z0 = go(restorer, golden, notes)
    for k, t in enumerate(STEPS):
        z, output, control = restorer.calls[k]
        for ours, key in ((z, "latents"), (output, "noise_pred"), (z0[k], "z0")):
            close(ours, golden[f"out.step.{t}.{key}"])
        if k:
            views = {
                f"out.step.{t}.controlnet_cond": control,
                f"out.step.{t}.controlnet_cond_sub2": control[..., ::2, ::2],
            }
            for key in views.keys() & golden.keys():
                close(views[key], golden[key])
            close(psr_view(restorer.seen[k - 1])[..., ::16, ::16], golden[f"out.ram_input_sub.{t}"])
    close(image.clamp(0, 1), golden["out.image"])


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_fewer_steps_end_where_the_official_loop_stands_by_then(seesr, steps):
    golden, notes = case("pipe_lr_psr")
    image, _ = go(Recorded(seesr, golden), golden, notes, steps=steps)
    close(image * 2 - 1, golden[f"out.truncated_after_{steps}_steps.image_raw"])


def test_the_first_latent_is_a_draw_from_the_posterior(seesr):
    golden, _ = case("pipe_lr_psr")
    z = seesr.encode(golden["in.image"], lambda shape: golden["in.vae_posterior_noise"])
    close(z, golden["out.lr_latent_scaled"])


def test_without_noise_encoding_gives_the_mean(seesr):
    image = torch.rand(1, 3, 32, 32)
    assert torch.allclose(seesr.encode(image), seesr.encode(image, torch.zeros), atol=1e-6)


def test_tiles_are_the_official_ones(seesr):
    golden, notes = case("pipe_tiled_latent")

    class Untiled(Tiled):
        """As in the official code, where only the UNet and the ControlNet are tiled here."""

        def encode(self, image, noise=None):
            return self.inner.encode(image, noise)

        def decode(self, z, canvas=None, cond=None):
            return self.inner.decode(z, canvas, cond)

    inner = Recorded(seesr, golden)
    tiled = Untiled(inner, notes["latent_tiled_size"], notes["latent_tiled_overlap"])
    image, z0 = go(tiled, golden, notes)
    columns_first = [0, 2, 1, 3]  # the official loops walk down, ours across
    for ours, theirs in enumerate(columns_first):
        close(inner.calls[ours][1], golden[f"out.step.999.tile.{theirs}.unet"])
    for k, t in enumerate(STEPS):
        close(z0[k], golden[f"out.step.{t}.z0"])
    close(image.clamp(0, 1), golden["out.image"])


def test_every_step_gets_the_text_and_the_tags_of_a_real_tagger(seesr):
    golden, notes = case("pipe_text_realram")
    assert torch.equal(seesr.text.ids(notes["call"]["prompt"]), golden["in.input_ids"])
    text = seesr.text.encode(notes["call"]["prompt"])
    close(text, golden["out.prompt_embeds"])
    seen = []

    class Watched(Recorded):
        def embed(self, image, cond):
            described = self.inner.embed(image, cond)
            seen.append(described.image)
            return described

    cond = Conditioning(text=text, image=golden["in.ram_encoder_hidden_states"])
    image, _ = go(Watched(seesr, golden), golden, notes, cond)
    for tokens, t in zip(seen, STEPS[1:], strict=True):
        close(tokens[..., ::8], golden[f"out.ram_embeds_sub8.{t}"])
    close(image.clamp(0, 1), golden["out.image"])


def test_guidance_is_the_official_first_step(seesr):
    golden, _ = case("pipe_lr_psr")
    cond = Conditioning(
        text=golden["in.prompt_embeds"],
        negative=golden["in.cfg15_negative_prompt_embeds"],
        image=golden["in.ram_encoder_hidden_states"],
        guidance=1.5,
    )
    z = golden["out.step.999.latents"]
    output = seesr.denoise(z, torch.tensor([999]), golden["in.image"], cond)
    close(output, golden["out.cfg15_first_step.noise_pred"])
    close(seesr.schedule.predict_z0(z, output, 999), golden["out.cfg15_first_step.z0"][:1])


@pytest.mark.parametrize(
    "steps", [1, 2, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (3, 4))]
)
def test_guidance_works_at_every_step_count_where_the_official_code_crashes(seesr, steps):
    canvas = torch.rand(1, 3, 64, 64)
    cond = seesr.describe(canvas, PromptSettings(prompt="a cat", guidance=3.0))
    image = sample(seesr, canvas, cond, timesteps=STEPS[:steps], noise=cpu_noise(0))
    plain = sample(
        seesr,
        canvas,
        replace(cond, negative=None, guidance=1.0),
        timesteps=STEPS[:steps],
        noise=cpu_noise(0),
    )
    assert image.shape == canvas.shape
    assert not torch.allclose(image, plain, atol=1e-3)


def test_guidance_of_one_is_the_plain_prediction(seesr):
    golden, _ = case("pipe_lr_psr")
    cond = Conditioning(
        text=golden["in.prompt_embeds"], image=golden["in.ram_encoder_hidden_states"]
    )
    z, t, canvas = golden["out.step.999.latents"], torch.tensor([999]), golden["in.image"]
    guided = replace(cond, negative=golden["in.cfg15_negative_prompt_embeds"], guidance=1.0)
    assert torch.allclose(
        seesr.denoise(z, t, canvas, guided), seesr.denoise(z, t, canvas, cond), atol=1e-5
    )


def test_a_batch_shares_the_words_and_keeps_its_pictures_apart(seesr):
    golden, _ = case("pipe_lr_psr")
    cond = Conditioning(
        text=golden["in.prompt_embeds"], image=golden["in.ram_encoder_hidden_states"]
    )
    z, canvas = torch.randn(2, 4, 6, 8), torch.rand(2, 3, 48, 64)
    both = seesr.denoise(z, torch.tensor([999, 249]), canvas, cond)
    for k, t in enumerate((999, 249)):
        alone = seesr.denoise(z[k : k + 1], torch.tensor([t]), canvas[k : k + 1], cond)
        assert torch.allclose(both[k : k + 1], alone, atol=1e-4)


@pytest.mark.parametrize("guidance", [pytest.param(1.0, marks=pytest.mark.slow), 3.0])
def test_photos_of_one_batch_keep_their_prompts_and_their_noise(seesr, guidance):
    prompts = [
        PromptSettings(prompt="a cat", guidance=guidance),
        PromptSettings(prompt="two dogs, snow", guidance=guidance),
    ]
    canvas, seeds = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)), (5, 6)
    conditions = [seesr.describe(canvas[k : k + 1], prompt) for k, prompt in enumerate(prompts)]
    both = sample(
        seesr, canvas, batched(conditions), timesteps=STEPS[:2], noise=stacked_noise(seeds)
    )
    for k, seed in enumerate(seeds):
        alone = sample(
            seesr, canvas[k : k + 1], conditions[k], timesteps=STEPS[:2], noise=placed_noise(seed)
        )
        assert torch.allclose(both[k : k + 1], alone, atol=1e-3)
    assert not torch.allclose(both[0], both[1], atol=1e-2)


@pytest.mark.parametrize(
    ("option", "tags"),
    [("none", ""), ("a fox, snow", "a fox, snow")],
    ids=["none", "the user's own"],
)
def test_tags_may_be_set_or_omitted(seesr, option, tags):
    cond = seesr.describe(
        torch.rand(1, 3, 20, 30), PromptSettings(tags=option, prompt="dusk", added_prompt="sharp")
    )
    assert (cond.tags, cond.prompt) == (tags, f"{tags}, dusk,sharp")
    assert cond.image.shape == (1, 145, 512)


def test_tags_are_read_from_the_photo_and_lead_the_prompt(seesr):
    photo = torch.rand(1, 3, 20, 30)
    cond = seesr.describe(photo, PromptSettings())
    assert cond.tags == seesr.tagger.read(photo)[1][0] != ""
    assert (
        cond.prompt
        == cond.tags + ", ,clean, high-resolution, 8k, extremely detailed, best quality, sharp"
    )
    assert cond.negative is None


def test_the_official_prompts_are_reproduced():
    notes = json.loads((GOLDEN / "preprocess" / "tensors.json").read_text())
    added = "clean, high-resolution, 8k, extremely detailed, best quality, sharp"
    for prompt in notes["prompts"]:
        assert assemble(prompt["tags"], prompt["user_prompt"], added) == prompt["final_prompt"]


def test_a_prompt_that_is_too_long_is_truncated_with_a_warning(seesr):
    cond = seesr.describe(
        torch.rand(1, 3, 20, 30), PromptSettings(tags="none", prompt="cat " * 200)
    )
    assert cond.text.shape == (1, 77, 20)
    assert "tokens too long" in cond.notes[0]


def test_another_padding_is_refused(seesr):
    class Other:
        pad_token_id = 5

    with pytest.raises(ModelUnavailable, match="pads with id 5"):
        TextEncoder(tokenizer=Other(), model=None)


def test_decoding_undoes_encoding_in_range(seesr):
    assert seesr.decode(seesr.encode(torch.rand(1, 3, 32, 40))).shape == (1, 3, 32, 40)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_type_stays_near_float32(tmp_path, seesr, dtype):
    narrow = load_bundle(write_bundle(tmp_path / "bundle"), dtype=dtype)
    golden, _ = case("pipe_lr_psr")
    cond = Conditioning(
        text=golden["in.prompt_embeds"], image=golden["in.ram_encoder_hidden_states"]
    )
    inputs = golden["out.step.999.latents"], torch.tensor([999]), golden["in.image"], cond
    ours, exact = narrow.denoise(*inputs), seesr.denoise(*inputs)
    assert ours.dtype == torch.float32
    assert (ours - exact).abs().mean() < (
        0.01 if dtype == torch.float16 else 0.06
    ) * exact.abs().mean()
