"""Settings that mean nothing to a model, said instead of passed over."""

from addsr_cli.models.architecture import ModelSpec
from addsr_cli.settings import Settings


def ignored_settings(spec: ModelSpec, settings: Settings) -> list[str]:
    """Return sentences about settings that were set and have no effect with this model."""
    if spec.native_scale is None:
        return _ignored_by_a_sampler(spec, settings)
    was_set = {
        "steps": settings.steps is not None,
        "PSR": settings.psr is not None,
        "the start": settings.start != "lr",
        "colour matching": settings.color not in (None, "wavelet", "none"),
        "prompts, tags and guidance": settings.uses_text,
    }
    ignored = [name for name, value in was_set.items() if value]
    if not ignored:
        return []
    names = " and ".join(filter(None, [", ".join(ignored[:-1]), ignored[-1]]))
    return [f"the model {spec.name} runs in one pass and ignores {names}"]


def _ignored_by_a_sampler(spec: ModelSpec, settings: Settings) -> list[str]:
    ignored = []
    if settings.uses_text and not spec.reads_text:
        ignored.append(
            f"the model {spec.name} reads no text, so prompts, tags and guidance have no effect"
        )
    if spec.most_steps and settings.effective_steps(1) > spec.most_steps:
        ignored.append(
            f"the model {spec.name} was trained for {spec.most_steps} step: more would harm the "
            "picture, so they are not run"
        )
    return ignored
