"""Upload of a model to the user's own Hub repository, in the layout that ``pull`` reads."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from addsr_cli.errors import ModelUnavailable, UsageError
from addsr_cli.models.bundle import Bundle, single_file
from addsr_cli.models.registry import ARCHITECTURES
from addsr_cli.weights import installed
from addsr_cli.weights.loader import at

CARD = """---
library_name: addsr
pipeline_tag: image-to-image
tags: [super-resolution, addsr]
---
# {name}

{contents}

```sh
addsr upscale photo.jpg --model {repo}
```

{parameters:,} parameters. Made by `addsr models` from the authors' weights; `bundle.json` holds the
SHA-256 of every file. Licence: {licence}.
"""
DIFFUSION = (
    "A complete model of [this paper]({paper}) for addsr, blind super-resolution in {steps} steps "
    "by default, as one bundle: {parts}. `import.json` says from which files it was made."
)
ONE_PASS = "A one-pass network for addsr, at x{scale}."


def push(
    name: str,
    repo: str,
    *,
    private: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
) -> str:
    """Upload an installed model, or that of a folder such as a training run; returns the address.

    A model card is added where there is none. Raises ModelUnavailable and UsageError.
    """
    folder = at(Path(name)) if Path(name).is_dir() else None
    if folder is None:
        folder = installed.require_installed(name)
    problems = installed.find_problems(folder)
    if problems:
        raise ModelUnavailable(
            f"{name} is damaged: {'; '.join(problems)}.",
            f"Install it again after: addsr models rm {name}",
        )
    record = Bundle.read(folder)
    card = CARD.format(
        name=name,
        repo=repo,
        parameters=record.parameters,
        contents=_contents(folder, record),
        licence=record.licence,
    )
    api = HfApi(endpoint=endpoint, token=token)
    try:
        address = str(api.create_repo(repo, private=private, exist_ok=True))
        if not (folder / "README.md").is_file():
            api.upload_file(
                path_or_fileobj=card.encode(),
                path_in_repo="README.md",
                repo_id=repo,
            )
        api.upload_folder(
            folder_path=folder,
            repo_id=repo,
            commit_message=f"addsr models push {name}",
        )
    except HFValidationError as exc:
        raise UsageError(
            f"{repo!r} is not the name of a repository.", "Write it as ORG/REPO."
        ) from exc
    except HfHubHTTPError as exc:
        problem = str(exc).splitlines()[0]
        raise ModelUnavailable(
            f"The Hub refused {repo}: {problem}", "Set HF_TOKEN to a token with write access."
        ) from exc
    return address


def _contents(folder: Path, record: Bundle) -> str:
    """Describe a bundle in a sentence or two of its card."""
    if record.scale:
        return ONE_PASS.format(scale=record.scale)
    parts = sorted(path.name for path in folder.iterdir() if path.is_dir())
    return DIFFUSION.format(
        paper=ARCHITECTURES[record.arch].paper,
        steps=record.default_steps,
        parts=", ".join(parts or [single_file(record.arch)]),
    )
