import csv
import json
from pathlib import Path

import numpy as np
import pytest
from bundles import write_nano
from PIL import Image

from addsr_cli import hardware
from addsr_cli.weights.loader import ASSETS


@pytest.fixture
def data(photo):
    """A data folder with two pairs."""
    for name in ("a", "b"):
        photo(f"set/hr/{name}.png", (64, 48))
        photo(f"set/lr/{name}.png", (16, 12))
    return "set"


@pytest.fixture
def bench(addsr):
    """``addsr bench`` with nano on the processor, few metrics."""
    return lambda *arguments: addsr("bench", "--model", "nano", "--device", "cpu", *arguments)


QUICK = ("--sizes", "16", "--steps", "1", "--runs", "1", "--seconds", "0")
TWO = ("--metrics", "psnr,ssim")


@pytest.fixture
def tiny():
    """A folder with a model of nano's kind that takes up to four steps."""
    write_nano(Path("tiny"))


def records(outcome):
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_speed_is_a_table_with_its_protocol(bench, monkeypatch):
    monkeypatch.setattr(hardware, "load_per_core", lambda: 0.0)
    outcome = bench(*QUICK)
    assert outcome.code == 0
    for phrase in (
        "Speed",
        "Seconds by stage",
        "16x16",
        "64x64",
        "matmul peak %",
        "sha256",
        "seed",
        "threads",
        "psr 0.4",
    ):
        assert phrase in outcome.out
    assert outcome.lines == ["model nano: requested by name"]


def test_a_busy_machine_is_named(bench, monkeypatch):
    monkeypatch.setattr(hardware, "load_per_core", lambda: 3.0)
    outcome = bench(*QUICK)
    assert "are using this machine" in outcome.lines[-1]
    assert "3.00 running processes per core" in outcome.out


def test_who_asks_for_more_sees_every_case(bench):
    assert "speed 1/1: 16x16, 1 step" in bench(*QUICK, "--verbose").lines


def test_a_terminal_gets_drawn_tables(bench, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    out = bench(*QUICK).out
    assert "┃" in out
    assert "sha256" in out


def test_speed_is_written_as_records(bench):
    header, row = records(bench(*QUICK, "--json", "--precision", "fp32"))
    assert (header["kind"], row["kind"], row["steps"], row["dtype"]) == (
        "protocol",
        "speed",
        1,
        "fp32",
    )
    assert len(header["sha256"]) == 64
    assert 0 < sum(row["stages"].values()) <= row["median"]
    assert row["matmul_share"] > 0


@pytest.mark.usefixtures("tiny")
def test_quality_against_references_and_other_results(bench, data):
    sweep = ("--model", "tiny", "--steps", "1,4", "--psr", "0,0.4")
    outcome = bench("--data", data, "--results", "set/hr", *sweep, *TWO, "--json")
    header, *rows = records(outcome)
    assert [row["method"] for row in rows] == [
        *(
            "bicubic",
            "lanczos",
            "hr",
            "nano, 1 step",
            "nano, 4 steps, psr 0",
            "nano, 4 steps, psr 0.4",
        )
    ]
    assert rows[2]["means"] == {"psnr": "infinity", "ssim": pytest.approx(1)}
    assert rows[4]["means"] != rows[5]["means"]
    assert "fp32" in header["precision"] or "bf16" in header["precision"]
    assert header["data"] == "set: lr (2 photos)"
    assert "psnr up: RGB, dB" in header["metrics"]


def test_every_report_holds_the_same_numbers(bench, data, monkeypatch):
    monkeypatch.setattr("sys.argv", ["addsr", "bench", "--steps", "1"])
    arguments = (
        "--data",
        data,
        *TWO,
        "--steps",
        "1",
        "--csv",
        "r.csv",
        "--markdown",
        "r.md",
        "--html",
        "r.html",
        "--json",
    )
    row = next(row for row in records(bench(*arguments)) if row.get("method") == "nano, 1 step")
    with open("r.csv", encoding="utf-8") as file:  # noqa: PTH123
        line = next(line for line in csv.DictReader(file) if line["method"] == "nano, 1 step")
    assert float(line["psnr"]) == row["means"]["psnr"]
    assert line["sha256"]
    shown = f"{row['means']['psnr']:.2f}"
    with open("r.md", encoding="utf-8") as file:  # noqa: PTH123
        text = file.read()
    assert f"| nano, 1 step | 2 | {shown} |" in text
    assert "- command: `addsr bench --steps 1`" in text
    with open("r.html", encoding="utf-8") as file:  # noqa: PTH123
        page = file.read()
    assert f">{shown}<" in page
    assert page.count('class="viewer"') == 2


def test_markdown_goes_to_stdout_when_asked(bench, data):
    outcome = bench("--data", data, *TWO, "--steps", "1", "--markdown", "-")
    assert outcome.out.startswith("**Quality, lr**\n\n| method | photos | psnr + | ssim + |")


def test_published_numbers_stand_below_ours(bench, data):
    outcome = bench("--data", data, "--metrics", "psnr_y", "--steps", "1", "--preset", "realsr")
    assert "published: AddSR, 4 steps" in outcome.out
    assert "23.33" in outcome.out
    assert "TSD-SR, Tables 1 and 2" in outcome.out


def test_the_authors_numbers_stand_in_columns_of_their_own(bench, data):
    arguments = ("--data", data, "--metrics", "psnr", "--steps", "1", "--json")
    rows = records(bench(*arguments, "--preset", "addsr-v1-table7", "--preset", "realsr"))
    published = [row for row in rows if row["kind"] == "published"]
    assert {(row["table"], row["measured_by"]) for row in published} == {
        ("addsr-v1-table7", "AddSR's authors"),
        ("realsr", "TSD-SR's authors"),
    }
    assert published[0]["means"]["MANIQA (v1)"] == 0.3503
    out = bench(*arguments[:-1], "--preset", "addsr-v4-table6").out
    assert "Table 6" in out
    assert "its numbers are missing" in out


def test_the_cases_of_the_paper_are_degradations_beside_their_own_numbers(bench, data):
    outcome = bench(
        *("--data", f"{data}/hr", "--metrics", "psnr", "--steps", "1", "--limit", "1"),
        *("--degradation", "addsr-case3", "--preset", "addsr-v1-table2"),
    )
    assert "published: AddSR, 4 steps" in outcome.out
    assert "20.58" in outcome.out  # case 3
    assert "22.74" not in outcome.out  # case 1
    assert "addsr-case3, assumed to be noise=40" in outcome.out
    assert "the names of the four cases are lost" in outcome.out


def test_published_rows_of_other_pictures_are_named_and_left_out(bench, data):
    Path(data).rename("RealSR")
    arguments = ("--preset", "addsr-v4-table4", "--preset", "realsr")
    out = bench("--data", "RealSR", "--metrics", "psnr_y", "--steps", "1", *arguments).out
    assert "published: AddSR, 4 steps  " in out  # one data set needs no name
    assert "SeeSR-Turbo" not in out
    assert "addsr-v4-table4 of RealLR200, addsr-v4-table4 of DIV2K" in out


def test_an_ablation_measures_trained_variants_beside_the_papers_rows(bench, data, tmp_path):
    for name, psr in (("with", [1.0, 1.0]), ("without", [0.0, 0.0])):
        export = Path("runs") / name / "export"
        export.mkdir(parents=True)
        (export / "nano.safetensors").symlink_to(ASSETS / "nano.safetensors")
        (export / "training.json").write_text(json.dumps({"recipe": {"psr": psr}}))
    arguments = ("--data", data, "--ablation", "psr", "--metrics", "psnr", "--steps", "2")
    header, *rows = records(bench(*arguments, "--json"))
    measured = {row["method"]: row["means"] for row in rows if row["kind"] == "quality"}
    with_psr, without = "with PSR, weight 1, 2 steps", "without PSR, 2 steps, psr 0"
    assert list(measured) == ["bicubic", "lanczos", with_psr, without]
    assert measured[with_psr] != measured[without]
    assert header["model"].startswith("with PSR, weight 1 (runs/with/export); without PSR (runs/")
    published = [row for row in rows if row["kind"] == "published"]
    assert {row["table"] for row in published} == {"addsr-v1-table5"}
    assert "published: AddSR without PSR, 4 steps (DRealSR)" in bench(*arguments).out


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (("--ablation", "psr"), "--ablation needs --data"),
        (("--data", "set", "--trained", "runs"), "--trained needs --ablation"),
        (("--data", "set", "--ablation", "ta"), "There is no trained model in runs"),
    ],
)
def test_an_ablation_needs_data_and_trained_models(bench, data, arguments, phrase):
    outcome = bench(*arguments)
    assert outcome.code == 2
    assert phrase in outcome.err


def test_references_alone_are_degraded_as_named(bench, data):
    arguments = (
        "--data",
        "set/hr",
        "--degradation",
        "bicubic",
        "--degradation",
        "noise=30",
        "--limit",
        "1",
        "--json",
    )
    header, *rows = records(bench(*arguments, *TWO, "--steps", "1", "--save", "kept"))
    psnr = {row["case"]: row["means"]["psnr"] for row in rows if row["method"] == "bicubic"}
    assert psnr["bicubic"] > psnr["noise=30"]
    assert "degraded by noise=30, seed 0" in header["data"]
    with Image.open("kept/noise=30/nano_1-step/a.png") as saved:
        assert np.asarray(saved).shape == (48, 64, 3)


def test_metrics_that_are_missing_are_one_line(bench, data):
    outcome = bench("--data", data, "--steps", "1", "--quiet")
    assert "left out" in outcome.out
    assert "python -m addsr_cli.fetch_perceptual" in outcome.out
    assert outcome.err == ""


def test_lpips_and_dists_are_measured_where_their_weights_are(bench, data, perceptual_weights):
    outcome = bench("--data", data, "--steps", "1", "--metrics", "lpips,lpips_vgg,dists", "--json")
    header, *rows = records(outcome)
    assert rows
    assert all(set(row["means"]) == {"lpips", "lpips_vgg", "dists"} for row in rows)
    assert all(0 < value < 2 for row in rows for value in row["means"].values())
    assert "LPIPS-Alex v0.1" in header["metrics"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--sizes", "big"), 2, "not a list of sizes"),
        (("--sizes", "4"), 2, "cannot be measured"),
        (("--steps", "one"), 2, "not a list of numbers"),
        (("--model", "tiny", "--steps", "9"), 2, "must be 1 to 4"),
        (("--start", "middle"), 2, "--start middle is unknown"),
        (("--precision", "fp8"), 2, "--precision fp8 is unknown"),
        (("--runs", "0"), 2, "at least 1"),
        (("--preset", "realsr"), 2, "needs --data"),
        (("--results", "x"), 2, "--results needs --data"),
        (("--data", "none"), 2, "not a folder"),
        (("--data", "set", "--metrics", "beauty"), 2, "beauty is not available here"),
        (("--data", "set", "--save", "set"), 7, "not an empty folder"),
        (("--data", "set", "--peer", "x.pth"), 4, "There is no file x.pth"),
        (("--csv", "set/hr/a.png", *QUICK), 7, "exists"),
    ],
)
@pytest.mark.usefixtures("data", "tiny")
def test_an_impossible_measurement_is_one_line(bench, arguments, code, message):
    outcome = bench(*arguments)
    assert outcome.code == code
    assert message in outcome.lines[-1]
    assert outcome.out == ""


def test_fid_and_kid_are_measured_when_named(bench, data, small_vgg):
    header, *rows = records(
        bench("--data", data, "--steps", "1", "--metrics", "psnr,fid_vgg,kid_vgg", "--json")
    )
    assert rows
    assert all(set(row["means"]) == {"psnr", "fid_vgg", "kid_vgg"} for row in rows)
    assert all(row["means"]["fid_vgg"] >= 0 for row in rows)
    assert "fid_vgg down: Frechet distance of the sets, VGG16 ImageNet" in header["metrics"]
