"""Steps, schedule, guidance and prompts of the released models, as their authors sample them."""

from addsr_cli.models.bundle import Bundle, PromptDefaults

SHORT_PROMPT = PromptDefaults(added_prompt="clean, high-resolution, 8k")
SAMPLING_DEFAULTS = {
    "addsr": Bundle(name="addsr", parameters=0),
    "seesr": Bundle(
        name="seesr",
        parameters=0,
        scheduler="leading",
        default_steps=50,
        guidance=5.5,
        prompt_defaults=SHORT_PROMPT,
    ),
    "seesr-turbo": Bundle(
        name="seesr-turbo",
        parameters=0,
        scheduler="trailing",
        default_steps=2,
        prompt_defaults=SHORT_PROMPT,
    ),
}
