"""Networks that upscale in one pass, without steps or prompts."""
