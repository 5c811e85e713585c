"""Run `segnode demo` with the real packages and a real head, on loopback."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pydicom
import pytest

from tests.support.running import wait_until

ROOT = Path(__file__).parents[2]
LEAST_ML, MOST_ML = 1.0, 4.0  # anterior or posterior part of an adult's hippocampus


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_demo_delivers_two_plausible_segmentations(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "node", "demo", "--json", "--out", str(tmp_path)]
    command += ["--task", "hippocampus-mr", "--models", str(ROOT / "models")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2000, check=False)
    assert done.returncode == 0, done.stderr
    right, left = json.loads(done.stdout)
    assert (right["scene"], left["scene"]) == ("right", "left")
    for result in (right, left):
        assert len(result["volumes_ml"]) == 2
        assert all(LEAST_ML < volume < MOST_ML for volume in result["volumes_ml"].values())
        assert Path(result["picture"]).read_bytes().startswith(b"\x89PNG")
        dataset = pydicom.dcmread(result["seg_file"])
        assert (dataset.Modality, dataset.PatientName) == ("SEG", "Colin^Twentyseven")
        assert result["seconds"] > 0
    wait_until(lambda: running_in(tmp_path) == [], describe=lambda: str(running_in(tmp_path)))


def running_in(folder: Path) -> list[psutil.Process]:
    """Return the processes whose command line names `folder`."""
    processes = psutil.process_iter(["cmdline"])
    return [p for p in processes if str(folder) in str(p.info["cmdline"])]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_demo_segments_a_whole_head(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "node", "demo", "--json", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, "--models", str(ROOT / "models")],
        capture_output=True,
        text=True,
        timeout=2000,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (head,) = json.loads(done.stdout)
    volumes = head["volumes_ml"]
    assert head["scene"] == "head"
    assert len(volumes) == 32
    fluid = volumes["Cerebrospinal fluid around the brain"]
    assert 900 < sum(volumes.values()) - fluid < 1800  # Colin27 has a large brain
    assert 2 < volumes["Left hippocampus"] < 8
    dataset = pydicom.dcmread(head["seg_file"])
    assert dataset.Modality == "SEG"
    assert len(dataset.SegmentSequence) == 32
    codes = {s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in dataset.SegmentSequence}
    assert "5366008" in codes, "hippocampus"
    assert head["seconds"] > 0
