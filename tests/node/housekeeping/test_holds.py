"""Every hold names commands that resolve it: each is typed as `explain` prints it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from node import errors, queue, schema
from node.arrival import decision_for
from node.config import load
from node.errors import Conflicting, ConflictingPatients, Defect, ReaderKilled
from node.housekeeping import Sweep
from node.inbox import Inbox, SeriesFolder
from node.package import uses
from node.reader import ReaderDeaths
from node.reader.deaths import MOST_DEATHS
from node.series import read
from node.states import ArrivalOutcome, Ending
from tests.node.housekeeping.test_two_patients import second_series
from tests.support.commanding import Run
from tests.support.housekeeping import QUIET, Site
from tests.support.odd_headers import in_slices, sets
from tests.support.phantoms import Phantom, make
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import T0

pytestmark = pytest.mark.slow  # several studies a test

SECOND = range(6, 12)  # the other half of the slices of the phantom
Make = Callable[[Path], Sequence[Path]]
Prepare = Callable[[Path, SeriesFolder], None]


def phantom(change: Callable[[Dataset, int], None] | None = None) -> Make:
    return lambda folder: make(folder / "series", Phantom(change=change)).paths


def of_two(**values: object) -> Make:
    """Return a series whose second half has other identifiers."""
    return phantom(in_slices(sets(**values), SECOND))


def of_two_issuers(folder: Path) -> Sequence[Path]:
    def change(dataset: Dataset, z: int) -> None:
        dataset.IssuerOfPatientID = "A" if z in SECOND else "B"

    return phantom(change)(folder)


def first_of_two_patients(folder: Path) -> Sequence[Path]:
    """Return a series; the one of another patient in its study is in the folder `second`."""
    scan = make(folder / "series", Phantom())
    second_series(scan, folder / "second", PatientID="OTHER")
    return scan.paths


def with_two_versions(folder: Path) -> Sequence[Path]:
    paths = phantom()(folder)
    dataset = pydicom.dcmread(paths[3])
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(folder / "other.dcm")
    return [*paths, folder / "other.dcm"]


def killed_before(data: Path, series: SeriesFolder) -> None:
    for _ in range(MOST_DEATHS):
        ReaderDeaths(data).add(series.key, "the reader died")


def nothing(_data: Path, _series: SeriesFolder) -> None:
    pass


@dataclass(frozen=True)
class Hold:
    """How a series comes to be held, and with which code."""

    code: str
    make: Make
    prepare: Prepare = nothing


HOLDS = {
    "two versions of an image": Hold(Conflicting.code, with_two_versions),
    "two patients in a series": Hold(Conflicting.code, of_two(PatientID="OTHER")),
    "two issuers in a series": Hold(Conflicting.code, of_two_issuers),
    "two frames of reference": Hold(
        Conflicting.code, of_two(FrameOfReferenceUID=generate_uid(entropy_srcs=["other"]))
    ),
    "two patients in a study": Hold(ConflictingPatients.code, first_of_two_patients),
    "images that kill the reader": Hold(ReaderKilled.code, phantom(), killed_before),
}
BY_OTHER_TESTS = {Defect.code}  # test_housekeeping: a person replans after a defect is corrected


def test_every_hold_code_has_a_row() -> None:
    conflicts = {kind.code for kind in errors.by_code().values() if issubclass(kind, Conflicting)}
    for kind in errors.by_code().values():
        held = decision_for(kind("m")).outcome is ArrivalOutcome.HELD
        assert held == (kind.code in conflicts)
    codes = conflicts | {ReaderKilled.code, Defect.code}  # `Sweep` holds these itself
    assert {hold.code for hold in HOLDS.values()} | BY_OTHER_TESTS == codes


@pytest.mark.parametrize("name", HOLDS)
def test_the_first_command_of_the_advice_resolves_the_hold(
    run: Run, configured: Path, tmp_path: Path, name: str
) -> None:
    hold = HOLDS[name]
    config = load(configured)
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    paths = hold.make(tmp_path)
    series = receive(inbox, paths, T0)
    if (tmp_path / "second").is_dir():
        receive(inbox, sorted((tmp_path / "second").iterdir()), T0)
    hold.prepare(config.data.dir, series)
    Sweep(config, engine, inbox, uses(config), shared_reader()).run(QUIET)
    held = queue.histories(engine)[0].arrival
    assert held.code == hold.code
    options = ["--config", str(configured)]
    explained = run("explain", held.series_uid, *options)[1]
    commands = re.findall(r"`(segnode jobs replan UID[^`]*)`", explained)
    for at, command in enumerate(commands):
        _, *words = command.split()
        typed = [held.series_uid if word == "UID" else word for word in words]
        status, output, problem = run(*typed, *options)
        assert status == 0, problem
        if at == 0:  # the others may need images that were sent again
            assert re.search(r"job \d+ is queued", output)
            endings = [one.ending for one in queue.histories(engine, series_uid=held.series_uid)]
            assert Ending.IN_PROGRESS in endings
    assert commands


@pytest.mark.parametrize("part", [1, 2])
def test_a_part_is_segmented_from_its_images_alone(site: Site, tmp_path: Path, part: int) -> None:
    changed = in_slices(sets(FrameOfReferenceUID="1.2.3", PatientID="OTHER"), range(7, 12))
    scan = make(tmp_path / "series", Phantom(change=changed))
    folder = receive(site.inbox, scan.paths, T0)
    site.sweep.run(QUIET)
    (held,) = queue.histories(site.engine)
    assert "part 1 has 7 images" in held.arrival.reason
    assert "part 2 has 5 images" in held.arrival.reason
    assert "OTHER" not in held.arrival.reason
    recorded = site.fresh().replan(folder, QUIET + 1, part=part)
    assert recorded is not None
    assert recorded.job_id is not None
    payload = queue.get(site.engine, recorded.job_id).segment_payload()
    read_again = read([folder.path / name for name in payload.files])
    of_part = scan.uids[:7] if part == 1 else scan.uids[7:]
    assert [header.sop_instance_uid for header in read_again.survey.headers] == of_part
    assert site.fresh().run(QUIET + 100) == 0, "the choice of a person stays"


def test_a_part_that_does_not_exist_is_named(run: Run, configured: Path, tmp_path: Path) -> None:
    inbox = Inbox(load(configured).data.dir / "inbox")
    receive(inbox, of_two(PatientID="OTHER")(tmp_path), T0)
    series = pydicom.dcmread(next((tmp_path / "series").iterdir())).SeriesInstanceUID
    status, _, problem = run("jobs", "replan", series, "--part", 3, "--config", configured)
    assert status == 1
    assert "part 3" in problem


def test_slices_with_a_frame_of_reference_each_are_unsuitable(site: Site, tmp_path: Path) -> None:
    def change(dataset: Dataset, z: int) -> None:
        dataset.FrameOfReferenceUID = f"1.2.3.{z + 1}"

    receive(site.inbox, phantom(change)(tmp_path), T0)
    site.sweep.run(QUIET)
    assert site.ends() == [(Ending.UNSUITABLE, "no-frame-of-reference")]
