"""Send patients' values through a whole node and search everything an operator can read for them.

The node gets a delivered series, an unsuitable one, a conflict and a failed delivery.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom.events import Event

from node.inbox import Inbox
from node.states import Ending
from tests.support.packages import make_tiny_package
from tests.support.phantoms import Phantom, make
from tests.support.running import Node, needs_dcmtk, started, storescu
from tests.support.targets import scripted_target

pytestmark = [pytest.mark.dcmtk, needs_dcmtk]
CANARIES: dict[str, Any] = {
    "PatientName": "Zaunkoenig^Wünsch",
    "PatientID": "KANARI-0815",
    "IssuerOfPatientID": "KANARI-ISSUER",
    "PatientBirthDate": "19310229",  # no such day: libraries like to quote it
    "PatientSex": "KANARISEX",
    "PatientAge": "KANARIAGE",
    "PatientAddress": "Finkenweg 7",
    "PatientComments": "kanari comment",
    "OtherPatientIDs": "KANARI-OTHER",
    "InstitutionName": "Kanari General Hospital",
    "InstitutionAddress": "Drosselgasse 3",
    "ReferringPhysicianName": "Stieglitz^Doctor",
    "OperatorsName": "Gimpel^Operator",
    "AccessionNumber": "KANARIACC",
    "StudyID": "KANARISTUDY",
    "StudyDescription": "kanari study of Zaunkoenig",
    "SeriesDescription": "kanari series of Zaunkoenig",
    "ProtocolName": "kanari protocol",
    "StudyDate": "19310230",
    "ImageComments": "kanari image",
    "DeviceSerialNumber": "KANARISERIAL",
    "StationName": "KANARISTATION",
}
NAMES: tuple[str, ...] = (
    "zaunkoenig",
    "wünsch",
    "kanari",
    "19310229",
    "19310230",
    "finkenweg",
    "drosselgasse",
)
NAMES = (*NAMES, "stieglitz", "gimpel")


def a_series(folder: Path, seed: int, **changes: Any) -> list[Path]:
    return make(folder / str(seed), Phantom(seed=seed, tags=CANARIES, **changes)).paths


def test_no_value_of_a_patient_stays_in_logs_commands_or_database(tmp_path: Path) -> None:
    good, gap = a_series(tmp_path, 1), a_series(tmp_path, 2, drop=(5,))
    torn, rejected = a_series(tmp_path, 3), a_series(tmp_path, 4)
    unruled = a_series(tmp_path, 5, modality="CT")
    other = pydicom.dcmread(torn[4])
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "conflict.dcm")
    studies = [str(pydicom.dcmread(files[0]).StudyInstanceUID) for files in (good, rejected)]

    def store(event: Event) -> Any:
        if event.dataset.StudyInstanceUID == studies[0]:
            return 0x0000
        no = Dataset()
        no.Status, no.ErrorComment = 0xA900, f"no place for {CANARIES['PatientName']}"
        return no

    make_tiny_package(tmp_path / "models")
    with scripted_target(store=store) as peer:
        target = {"ae": "PEER", "host": "127.0.0.1", "port": peer.port}
        changes = {"targets": {"pacs": target}, "complete": {"settle": "100 ms", "quiet": "1 s"}}
        node = Node(tmp_path / "node", peer.port, tmp_path / "models", changes=changes)
        with started(node):
            for files in (good, gap, [*torn, tmp_path / "conflict.dcm"], rejected, unruled):
                assert storescu(node.port, files) == 0
            send_inconsistent(node.port, good[0], tmp_path)
            histories = node.wait_for_endings(5)
            shown = {
                "commands": printed(node, [history.arrival.study_uid for history in histories])
            }
    assert sorted(history.ending.value for history in histories) == [
        Ending.DELIVERED.value,
        Ending.FAILED.value,
        Ending.HELD.value,
        Ending.NO_RULE.value,
        Ending.UNSUITABLE.value,
    ]
    shown["node.log"] = (node.folder / "node.log").read_text(errors="replace")
    assert '"level": "error"' not in shown["node.log"], "a periodic function broke"
    with node.engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        shown["database"] = "\n".join(raw.iterdump())
    for path in (node.folder / "data").rglob("*"):
        if path.is_file() and path.suffix != ".dcm":  # images and results are the patient's own
            shown[str(path)] = path.read_bytes().decode("utf-8", "replace")
    inbox = Inbox(node.folder / "data/inbox")
    assert sum(len(inbox.instances(folder)) for folder in inbox.series_folders()) == 60
    texts = {where: text.lower() for where, text in shown.items()}
    assert [(where, name) for where, text in texts.items() for name in NAMES if name in text] == []


def printed(node: Node, studies: list[str]) -> str:
    """Return the output of every reading command, run in one process: imports take time."""
    commands = [
        ["status", "--loops"],
        ["status", "--loops", "--json"],
        ["jobs", "list"],
        ["jobs", "list", "--json"],
    ]
    commands += [["find"], ["find", "--json"], ["history"], ["history", "--csv"]]
    commands += [["history", "--json"]]
    commands += [["jobs", "show", "1"], ["jobs", "show", "2", "--json"]]
    for study in studies:
        commands += [["explain", study], ["explain", study, "--json"]]
    lines = [[*command, "--config", str(node.config_file)] for command in commands]
    program = f"from node.commands import main\nassert not any([main(line) for line in {lines}])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for study in studies:
        assert study in done.stdout
    return done.stdout + done.stderr


def send_inconsistent(port: int, path: Path, folder: Path) -> None:
    """Send an instance whose file meta names another instance: it must be rejected."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    dataset.save_as(folder / "wrong.dcm")
    storescu(port, [folder / "wrong.dcm"])
