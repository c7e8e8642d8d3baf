"""Name the repository in what PyPI shows: ``python scripts/prepare_release.py URL TAG``.

PyPI resolves no relative links. This makes those of README.md absolute, at the release's tag, and
adds the project's URLs to pyproject.toml. The release workflow runs it on its own checkout, so that
a fork's packages point to the fork.
"""

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(!?\[[^\]]*\]\()(?!https?:|mailto:|#)([^)\s]+)")


def main() -> None:
    """Rewrite README.md and pyproject.toml of this checkout."""
    parser = argparse.ArgumentParser(description="Name the repository in what PyPI shows.")
    parser.add_argument("url", help="as https://github.com/OWNER/addsr")
    parser.add_argument("tag", help="as v0.1.0")
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    readme = ROOT / "README.md"
    readme.write_text(
        absolute_links(readme.read_text(encoding="utf-8"), url, arguments.tag),
        encoding="utf-8",
    )
    pyproject = ROOT / "pyproject.toml"
    pyproject.write_text(
        with_urls(pyproject.read_text(encoding="utf-8"), url, arguments.tag),
        encoding="utf-8",
    )


def absolute_links(markdown: str, url: str, tag: str) -> str:
    """Return Markdown whose links lead to files at ``tag``; those of pictures, to their bytes."""

    def absolute(match: re.Match[str]) -> str:
        label, target = match.groups()
        kind = "raw" if label.startswith("!") else "blob"
        return f"{label}{url}/{kind}/{tag}/{target}"

    return _LINK.sub(absolute, markdown)


def with_urls(pyproject: str, url: str, tag: str) -> str:
    """Return pyproject.toml with a table of the project's URLs before its scripts."""
    urls = {
        "Homepage": url,
        "Documentation": f"{url}/blob/{tag}/docs/README.md",
        "Changelog": f"{url}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{url}/issues",
    }
    table = "".join(f'{name} = "{address}"\n' for name, address in urls.items())
    before, marker, after = pyproject.partition("[project.scripts]\n")
    if not marker or "[project.urls]" in pyproject:
        raise ValueError("pyproject.toml has URLs already, or no [project.scripts]")
    return f"{before}[project.urls]\n{table}\n{marker}{after}"


if __name__ == "__main__":
    main()
