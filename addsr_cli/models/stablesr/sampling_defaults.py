"""Steps, prediction and decoder of the released models, as their authors sample them."""

from dataclasses import dataclass, field

from addsr_cli.models.bundle import Bundle, PromptDefaults
from addsr_cli.schedule import Prediction

# The official code encodes the empty prompt. Its scripts with guidance have this negative one.
PROMPTS = PromptDefaults(
    added_prompt="",
    negative_prompt="3d, cartoon, anime, sketches, (worst quality:2), (low quality:2)",
)


def _bundle(steps: int, side: int) -> Bundle:
    return Bundle(
        name="stablesr",
        parameters=0,
        arch="stablesr",
        scheduler="linspace",
        default_steps=steps,
        shortest_side=side,
        prompt_defaults=PROMPTS,
    )


@dataclass(frozen=True, kw_only=True)
class StableSRDefaults:
    """How one model is used; ``fidelity`` is CFW's weight ``w``. The defaults are StableSR's."""

    bundle: Bundle = field(default_factory=lambda: _bundle(200, 512))
    prediction: Prediction = "epsilon"
    fidelity: float = 0.5


SAMPLING_DEFAULTS = {
    "stablesr": StableSRDefaults(),
    "stablesr-turbo": StableSRDefaults(bundle=_bundle(4, 512)),
    # No decoder was trained for it: the authors run it without fusion.
    "stablesr-768v": StableSRDefaults(bundle=_bundle(200, 768), prediction="v", fidelity=0.0),
}
