"""The licences of every dependency: one that is not permissive fails here.

Read from the metadata of the installed distributions, starting at the requirements of
pyproject.toml (extras included) and following theirs.
"""

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
PERMISSIVE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "MIT",
        "MIT-CMU",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    }
)
# MPL-2.0 asks for the changes to a package's own files, and addsr makes none.
MOZILLA = frozenset({"certifi", "pathspec", "tqdm"})
# NVIDIA's own terms; torch depends on these packages on Linux.
CUDA = re.compile(r"(nvidia|cuda)-.*")
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
    """Return the SPDX expression of a distribution.

    Taken from its License-Expression, else from its classifiers, else from the License field.
    """
    if expression := dist.metadata.get("License-Expression"):
        return expression
    names = [
        classifier.split(" :: ")[-1]
        for classifier in dist.metadata.get_all("Classifier", [])
        if "License" in classifier
    ]
    if not names:
        names = [dist.metadata.get("License", "").partition("\n")[0]]
    return " AND ".join(SPELLINGS.get(name, name) for name in names)


def is_permissive(expression: str, allowed: frozenset[str] = PERMISSIVE) -> bool:
    """Whether every term joined by AND has an alternative, joined by OR, that is allowed."""
    terms = re.split(r"\s+AND\s+", expression.replace("(", " ").replace(")", " "))
    return all(_has_alternative(term, allowed) for term in terms)


def _has_alternative(term: str, allowed: frozenset[str]) -> bool:
    alternatives = re.split(r"\s+OR\s+", term)
    return any(name.strip().partition(" WITH ")[0] in allowed for name in alternatives)


def dependencies() -> dict[str, Distribution]:
    """Return the installed distributions that addsr and its extras require, directly or not."""
    direct = list(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].values():
        direct += extra
    queue = [(Requirement(requirement), "") for requirement in direct]
    distributions = {}
    seen = set()
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = requirement.name.lower().replace("_", "-")
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                dist = distribution(name)
            except PackageNotFoundError:  # an optional extra that is not installed
                continue
            distributions[name] = dist
            queue += [(Requirement(text), wanted) for text in dist.requires or []]
    return distributions


def test_every_dependency_has_a_permissive_licence():
    installed = dependencies()
    assert {"torch", "numpy", "huggingface-hub", "pytest", "sympy"} <= installed.keys()
    refused = {}
    for name, dist in installed.items():
        allowed = PERMISSIVE | {"MPL-2.0"} if name in MOZILLA else PERMISSIVE
        if not CUDA.fullmatch(name) and not is_permissive(licence(dist), allowed):
            refused[name] = licence(dist)
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
def test_every_term_of_a_licence_expression_counts(expression, allowed):
    assert is_permissive(expression) is allowed
