"""Finding the pair in folders and archives, and the reason for every refusal."""

import io
import json
import os
import pickle
import shutil
import stat
import tarfile
import zipfile

import pytest
import torch

from addsr_cli.errors import ModelUnavailable, OutputRefused
from addsr_cli.models.seesr import archive
from addsr_cli.models.seesr.archive import NetworkFolders, find_networks, weights_file

CLASS = {"unet": "UNet2DConditionModel", "controlnet": "ControlNetModel"}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def noise(count):
    return os.urandom(count)


def files(unet="unet", controlnet="controlnet", weights=WEIGHTS, size=3000):
    """Name -> content of a plausible pair."""
    contents = {}
    for kind, folder in (("unet", unet), ("controlnet", controlnet)):
        contents[f"{folder}/config.json"] = json.dumps(
            {"_class_name": CLASS[kind], "kind": kind}
        ).encode()
        contents[f"{folder}/{weights}"] = noise(size)
    return contents


def zipped(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in content.items():
            packed.writestr(name, data)
    return path


def tarred(path, content, mode="w"):
    with tarfile.open(path, mode) as packed:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return path


def unpacked(path, content):
    for name, data in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


PACKERS = {
    "folder": unpacked,
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda path, content: tarred(path, content, "w:gz"),
    "tar.bz2": lambda path, content: tarred(path, content, "w:bz2"),
    "tar.xz": lambda path, content: tarred(path, content, "w:xz"),
}


def kinds_in(path, tmp_path):
    """Return the kinds that the configurations of the extracted pair name."""
    scratch = tmp_path / "scratch"
    pair = find_networks(path, scratch)
    extracted = sorted(entry for entry in scratch.rglob("*") if entry.is_file())
    assert path.is_dir() or len(extracted) == 4
    return {
        kind: json.loads((getattr(pair, kind) / "config.json").read_text())["kind"]
        for kind in CLASS
    }


def refused(path, tmp_path, message, error=ModelUnavailable):
    """Return the error for a bad archive; nothing may appear beside the scratch folder."""
    before = set(tmp_path.iterdir())
    with pytest.raises(error, match=message) as caught:
        find_networks(path, tmp_path / "scratch")
    assert caught.value.hint
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "scratch"}
    return caught.value


@pytest.mark.parametrize("packer", PACKERS)
def test_the_pair_is_extracted_byte_for_byte(packer, tmp_path):
    content = files(weights="diffusion_pytorch_model.bin") | {
        "scaler.pt": b"junk",
        "unet/notes.txt": b"junk",
    }
    path = PACKERS[packer](tmp_path / "in", content)
    assert kinds_in(path, tmp_path) == {"unet": "unet", "controlnet": "controlnet"}
    pair = find_networks(path, tmp_path / "again")
    for kind in CLASS:
        assert (
            weights_file(getattr(pair, kind)).read_bytes()
            == content[f"{kind}/diffusion_pytorch_model.bin"]
        )


@pytest.mark.parametrize("packer", ["folder", "zip", "tar"])
@pytest.mark.parametrize(
    "prefix", ["", "AddSR/release/addsr/", "a/b/c/d/"], ids=["top", "three deep", "four deep"]
)
def test_it_may_lie_deep_inside_under_the_names_of_a_training_run(packer, prefix, tmp_path):
    path = PACKERS[packer](tmp_path / "in", files(f"{prefix}unet_0", f"{prefix}controlnet_1"))
    assert kinds_in(path, tmp_path) == {"unet": "unet", "controlnet": "controlnet"}


@pytest.mark.parametrize("packer", ["folder", "zip", "tar"])
def test_below_four_folders_nobody_looks(packer, tmp_path):
    path = PACKERS[packer](tmp_path / "in", files("a/b/c/d/e/unet", "a/b/c/d/e/controlnet"))
    refused(path, tmp_path, "nothing within 4 folders")


def test_the_configuration_decides_which_is_which_not_the_folder(tmp_path):
    path = zipped(tmp_path / "in.zip", files(unet="controlnet", controlnet="unet"))
    assert kinds_in(path, tmp_path) == {"unet": "unet", "controlnet": "controlnet"}
    path = zipped(tmp_path / "named.zip", files(unet="student", controlnet="guide"))
    assert kinds_in(path, tmp_path) == {"unet": "unet", "controlnet": "controlnet"}


def test_without_a_class_the_folders_name_decides(tmp_path):
    content = files("UNet_0") | {"UNet_0/config.json": b'{"kind": "unet"}'}
    assert kinds_in(zipped(tmp_path / "in.zip", content), tmp_path)["unet"] == "unet"


def test_other_networks_beside_the_pair_do_not_matter(tmp_path):
    vae = {"vae/config.json": b'{"_class_name": "AutoencoderKL"}', f"vae/{WEIGHTS}": b"x"}
    text = {"text_encoder/config.json": b"not even JSON", "text_encoder/model.safetensors": b"x"}
    assert kinds_in(zipped(tmp_path / "in.zip", files() | vae | text), tmp_path)


def test_a_mac_and_a_windows_packer_are_understood(tmp_path):
    content = {
        name.replace("/", "\\"): data for name, data in files("x/unet", "x/controlnet").items()
    }
    path = zipped(tmp_path / "in.zip", content | {"__MACOSX/x/unet/._config.json": b"\0"})
    assert kinds_in(path, tmp_path) == {"unet": "unet", "controlnet": "controlnet"}


def test_links_to_files_in_a_folder_are_followed_as_the_hubs_cache_needs(tmp_path):
    root = unpacked(tmp_path / "in", files())
    blob = root / "blob"
    shutil.move(root / "unet" / WEIGHTS, blob)
    (root / "unet" / WEIGHTS).symlink_to(blob)
    assert kinds_in(root, tmp_path)


def test_full_safetensors_come_before_half_ones_and_both_before_pickles(tmp_path):
    order = ["diffusion_pytorch_model.bin", "model.fp16.safetensors", "model.safetensors"]
    for name in order:
        (tmp_path / name).touch()
        assert weights_file(tmp_path).name == name


def test_weights_in_several_parts_are_refused(tmp_path):
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").touch()
    with pytest.raises(ModelUnavailable, match="no weights in one file"):
        weights_file(tmp_path)


@pytest.mark.parametrize("packer", ["folder", "zip", "tar"])
def test_several_unets_are_refused_by_name(packer, tmp_path):
    content = files("a/unet_0") | {
        name.replace("unet_0", "unet_1"): x for name, x in files("a/unet_0").items()
    }
    path = PACKERS[packer](tmp_path / "in", content)
    assert (
        "one of each" in refused(path, tmp_path, r"more than one UNet: a/unet_0, a/unet_1\.").hint
    )


@pytest.mark.parametrize("packer", ["folder", "zip", "tar"])
@pytest.mark.parametrize(("present", "absent"), [("unet", "ControlNet"), ("controlnet", "UNet")])
def test_half_a_pair_is_refused(packer, present, absent, tmp_path):
    half = {name: data for name, data in files().items() if name.startswith(present)}
    path = PACKERS[packer](tmp_path / "in", half)
    refused(path, tmp_path, f"holds no {absent}, but a .* in .*{present}")


@pytest.mark.parametrize("packer", ["folder", "zip", "tar"])
def test_an_empty_one_is_refused(packer, tmp_path):
    (tmp_path / "in").mkdir() if packer == "folder" else PACKERS[packer](tmp_path / "in", {})
    refused(tmp_path / "in", tmp_path, "is empty")


@pytest.mark.parametrize("packer", ["folder", "zip", "tar"])
@pytest.mark.parametrize(
    "config", [b"{", b"[]", b"\xff\xfe", b""], ids=["cut", "list", "bytes", "empty"]
)
def test_an_unreadable_configuration_is_refused(packer, config, tmp_path):
    path = PACKERS[packer](tmp_path / "in", files() | {"unet/config.json": config})
    refused(path, tmp_path, r"unet/config\.json cannot be read: it is not a JSON object")


def test_a_configuration_that_is_missing_or_huge_is_refused(tmp_path):
    content = files()
    refused(
        zipped(tmp_path / "a.zip", content | {"unet/config.json": noise(2 << 20)}),
        tmp_path,
        "far too large",
    )
    del content["unet/config.json"]
    refused(zipped(tmp_path / "b.zip", content), tmp_path, r"unet has no config\.json")


def test_a_folder_without_weights_is_refused(tmp_path):
    content = files()
    del content[f"unet/{WEIGHTS}"]
    refused(zipped(tmp_path / "in.zip", content), tmp_path, "unet holds no weights")


def test_a_missing_archive_is_refused(tmp_path):
    refused(tmp_path / "nothing.zip", tmp_path, "cannot be read: No such file")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "in.zip").touch()
    refused(tmp_path / "in.zip", tmp_path, r"in\.zip is empty")


@pytest.mark.parametrize("start", ["<!DOCTYPE html>", "\ufeff\n  <HTML lang='en'>"])
def test_the_notice_of_a_download_host_is_recognised(start, tmp_path):
    (tmp_path / "addsr.zip").write_text(
        f"{start}<title>Google Drive - Quota exceeded</title>", encoding="utf-8"
    )
    assert "browser" in refused(tmp_path / "addsr.zip", tmp_path, "is a web page, not weights").hint


def test_a_plain_file_is_refused(tmp_path):
    (tmp_path / "in.zip").write_bytes(noise(5000).replace(b"PK", b"xx"))
    refused(tmp_path / "in.zip", tmp_path, "not a zip or tar archive")


def test_a_pickle_under_another_name_is_refused(tmp_path):
    (tmp_path / "in.tar").write_bytes(pickle.dumps({"a": 1}))
    refused(tmp_path / "in.tar", tmp_path, "is a Python pickle")


def test_a_checkpoint_under_another_name_is_refused(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "in.zip")
    refused(tmp_path / "in.zip", tmp_path, "single PyTorch checkpoint")


@pytest.mark.parametrize("magic", [b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c"], ids=["rar", "7z"])
def test_packers_that_python_lacks_are_named(magic, tmp_path):
    (tmp_path / "in.zip").write_bytes(magic + noise(100))
    assert "Unpack it yourself" in refused(tmp_path / "in.zip", tmp_path, "RAR or 7z").hint


@pytest.mark.parametrize("packer", ["zip", "tar"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "absolute path"),
        ("C:\\Windows\\x.dll", "absolute path"),
        ("../outside", "leads out"),
        ("unet/../../outside", "leads out"),
        ("..\\outside", "leads out"),
    ],
)
def test_names_that_reach_out_refuse_the_whole_archive(packer, name, why, tmp_path):
    path = PACKERS[packer](tmp_path / "in", files() | {name: b"x"})
    refused(path, tmp_path, f"not safe to unpack: .*{why}")
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(kind, tmp_path):
    path = tarred(tmp_path / "in.tar", files())
    with tarfile.open(path, "a") as packed:
        info = tarfile.TarInfo("unet/more")
        info.type, info.linkname = kind, "/etc/passwd"
        packed.addfile(info)
    refused(path, tmp_path, "'unet/more' is a link or a device")


def test_links_in_a_zip_are_refused(tmp_path):
    path = zipped(tmp_path / "in.zip", files())
    with zipfile.ZipFile(path, "a") as packed:
        info = zipfile.ZipInfo("unet/more")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(info, "/etc/passwd")
    refused(path, tmp_path, "'unet/more' is a link or a device")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "in.zip", files())
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= (
        1  # the flag in the central directory, as a packer with a password sets it
    )
    path.write_bytes(raw)
    assert "password" in refused(path, tmp_path, "is encrypted").hint


def test_a_way_of_packing_that_python_lacks_is_refused(tmp_path):
    path = zipped(tmp_path / "in.zip", files())
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 10] = raw[raw.index(b"PK\x03\x04") + 8] = (
        9  # Deflate64, as Windows' own takes
    )
    path.write_bytes(raw)
    assert "Unpack it yourself" in refused(path, tmp_path, "packed in a way").hint


@pytest.mark.parametrize("packer", ["zip", "tar.gz"])
def test_a_bomb_is_refused_by_its_declared_size(packer, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "SMALL_ENOUGH", 1 << 20)
    path = PACKERS[packer](tmp_path / "in", files() | {f"unet/{WEIGHTS}": bytes(8 << 20)})
    refused(path, tmp_path, "zip bomb: its .* bytes would become")
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("packer", ["zip", "tar"])
def test_a_full_disk_is_noticed_before_anything_is_unpacked(packer, tmp_path, monkeypatch):
    path = PACKERS[packer](tmp_path / "in", files())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5000}))
    refused(path, tmp_path, "needs 0 MB, but .* has 0 MB free", OutputRefused)
    assert not [remaining for remaining in (tmp_path / "scratch").rglob("*") if remaining.is_file()]


def test_a_full_disk_is_distinguished_from_damage(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    refused(
        zipped(tmp_path / "in.zip", files()),
        tmp_path,
        "cannot be written: the disk is full",
        OutputRefused,
    )


@pytest.mark.parametrize("packer", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_cut_short_is_refused(packer, tmp_path):
    path = PACKERS[packer](tmp_path / "in", files(size=100_000))
    path.write_bytes(path.read_bytes()[:150_000])
    refused(path, tmp_path, "damaged, was cut short")


@pytest.mark.parametrize("packer", ["zip", "tar.gz", "tar.xz"])
def test_a_flipped_byte_is_noticed(packer, tmp_path):
    path = PACKERS[packer](tmp_path / "in", files(size=100_000))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 + 1000] ^= 255
    path.write_bytes(raw)
    refused(path, tmp_path, "damaged, was cut short")


def test_a_pair_is_a_plain_value(tmp_path):
    assert NetworkFolders(unet=tmp_path, controlnet=tmp_path) == NetworkFolders(
        unet=tmp_path, controlnet=tmp_path
    )
