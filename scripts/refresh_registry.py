"""Compare the components of ``addsr_cli`` with the Hub: commits, sizes and digests.

For maintainers, online. ``python scripts/refresh_registry.py`` prints
one JSON line per file and source, and exits with 1
when something that is written down differs or a source is gone.
"""

import json
import sys

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from addsr_cli.models.component import Component, FileSpec, Source
from addsr_cli.weights.components import COMPONENTS


def main() -> int:
    """Look at every source of every component."""
    api, wrong = HfApi(), 0
    for component in COMPONENTS.values():
        for source in component.sources:
            if source.kind == "url":
                continue
            for row in look(api, component, source):
                wrong += row["state"] not in ("same", "new")
                print(json.dumps(row), flush=True)
    return int(wrong > 0)


def look(api: HfApi, component: Component, source: Source) -> list[dict[str, object]]:
    """One row per file: what the Hub says beside what is written down."""
    base: dict[str, object] = {
        "component": component.name,
        "repo": source.repo,
        "asked": source.revision,
    }
    try:
        info = api.repo_info(
            source.repo, revision=source.revision, repo_type=source.kind, files_metadata=True
        )
    except HfHubHTTPError as exc:
        return [base | {"state": "gone", "problem": str(exc).splitlines()[0]}]
    there = {each.rfilename: each for each in info.siblings or ()}
    rows = []
    for file in component.files:
        each = there.get(source.prefix + file.path)
        if each is None:
            rows.append(base | {"file": file.path, "state": "missing"})
            continue
        digest = each.lfs.sha256 if each.lfs else None
        rows.append(
            base
            | {"commit": info.sha, "file": file.path, "size": each.size, "sha256": digest}
            | {"state": compared(file, each.size, digest)}
        )
    return rows


def compared(file: FileSpec, size: int | None, digest: str | None) -> str:
    """``same``, ``new`` for what was unknown, or ``differs``."""
    pairs = [(file.size, size), (file.sha256, digest)]
    if any(ours is not None and theirs is not None and ours != theirs for ours, theirs in pairs):
        return "differs"
    return "new" if any(ours is None and theirs is not None for ours, theirs in pairs) else "same"


if __name__ == "__main__":
    sys.exit(main())
