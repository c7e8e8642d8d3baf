"""Everything addsr stands on may be used by anybody: a dependency under another licence fails here.

Read from the metadata of what is installed, from the requirements in pyproject.toml (extras too)
down to theirs."""

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
PERMISSIVE = {
    *(
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "MIT",
    ),
    *("MIT-CMU", "PSF-2.0", "Unlicense", "Zlib"),
}
MOZILLA = {
    "certifi",
    "pathspec",
    "tqdm",
}  # MPL-2.0 asks for changes to their own files, and we make none
CUDA = re.compile(
    r"(nvidia|cuda)-.*"
)  # NVIDIA's own terms: torch brings them on Linux, and they serve its GPUs alone
SPELLINGS = {
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


def licence(dist: Distribution) -> str:
    """SPDX expression of a distribution: its own, or what the classifiers or the older field stand for."""
    if expression := dist.metadata.get("License-Expression"):
        return expression
    classifiers = [
        words.split(" :: ")[-1]
        for words in dist.metadata.get_all("Classifier", [])
        if "License" in words
    ]
    names = classifiers or [dist.metadata.get("License", "").partition("\n")[0]]
    return " AND ".join(SPELLINGS.get(name, name) for name in names)


def is_permissive(expression: str, more: frozenset[str] = frozenset()) -> bool:
    """Whether every part that binds, of those joined by AND, has an alternative, of those joined by OR, in the list."""
    parts = re.split(r"\s+AND\s+", expression.replace("(", " ").replace(")", " "))
    choices = [
        [each.strip().partition(" WITH ")[0] for each in re.split(r"\s+OR\s+", part)]
        for part in parts
    ]
    return all(not (PERMISSIVE | more).isdisjoint(each) for each in choices)


def dependencies() -> dict[str, Distribution]:
    """What is installed of all that addsr and its extras require, directly or not, by name."""
    wanted = [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    waiting, found = [(Requirement(each), "") for each in wanted], {}
    seen = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = requirement.name.lower().replace("_", "-")
        for wish in {"", *requirement.extras} - {wish for known, wish in seen if known == name}:
            seen.add((name, wish))
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:  # an extra that nobody installed here
                continue
            waiting += [(Requirement(each), wish) for each in found[name].requires or []]
    return found


def test_every_dependency_may_be_used_by_anybody():
    found = dependencies()
    assert {"torch", "numpy", "huggingface-hub", "pytest", "sympy"} <= found.keys()
    licences = {name: licence(dist) for name, dist in found.items() if not CUDA.fullmatch(name)}
    mozilla = frozenset(["MPL-2.0"])
    refused = {
        n: text
        for n, text in licences.items()
        if not is_permissive(text, mozilla if n in MOZILLA else frozenset())
    }
    assert refused == {}


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 WITH LLVM-exception AND BSD-3-Clause", True),
        ("GPL-3.0-only OR MIT", True),
        ("(MIT OR GPL-2.0-only) AND BSD-2-Clause", True),
        ("MIT AND GPL-3.0-only", False),
        ("MPL-2.0", False),
        ("PolyForm-Noncommercial-1.0.0", False),
        ("CC-BY-NC-4.0", False),
        ("", False),
    ],
)
def test_a_licence_counts_by_all_its_parts(expression, allowed):
    assert is_permissive(expression) is allowed
