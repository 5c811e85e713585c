"""`segnode demo`: send a head to a node, and receive its segmentation.

The demo starts a node as a hospital does, sends images by C-STORE and starts a second listener that
stands for the PACS and receives the SEG. Everything runs on loopback, in one folder.
"""

import argparse
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from pydicom.uid import generate_uid

from node import preview, queue, schema, seg, series, yaml_strict
from node.commands.options import add_json, print_json
from node.commands.terminal import Progress, print_table
from node.config import Config, Target, load
from node.errors import Defect, TimedOut
from node.event_words import in_words
from node.imaging.nifti import read_volume
from node.inbox import Inbox
from node.package import Package, resolve
from node.package import load as load_package
from node.package.folder import models_in
from node.sender import send_echo, send_files
from node.series.compose import Composed, Labelling, compose
from node.states import Ending
from node.volumes import marked


@dataclass(frozen=True)
class Scene:
    """One series that the demo sends."""

    name: str
    image: str  # file beside this module
    description: str  # of the series


# series for each task; the demo uses the first task with a package
SCENES = {
    "brain-mr": (Scene("head", "colin27_head.nii.gz", "T1 whole head"),),
    "hippocampus-mr": (
        Scene("right", "colin27_right.nii.gz", "T1 hippocampus right"),
        Scene("left", "colin27_left.nii.gz", "T1 hippocampus left"),
    ),
}
LONGEST_S = 900.0  # for the start, and for each result; a busy machine takes minutes
PEER_AE = "DEMOPACS"


@dataclass(frozen=True)
class Result:
    """The segmentation of one series."""

    scene: str
    seg_file: Path
    picture: Path
    volumes_ml: dict[str, float]
    cut: tuple[str, ...]  # labels and sums that the field of view cuts
    seconds: float  # from the last slice stored to the SEG in the PACS


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `demo` to the command line."""
    command = commands.add_parser(
        "demo", help="send a head to a node by C-STORE and receive its SEG"
    )
    command.add_argument("--out", type=Path, default=Path("demo"), help="folder for all files")
    command.add_argument("--models", type=Path, default=Path("models"))
    command.add_argument(
        "--task", choices=SCENES, help="task of the model (default: the first with a package)"
    )
    command.add_argument("--size", help="size of the model (default: the largest student)")
    command.add_argument("--open", action="store_true", help="open the pictures when done")
    add_json(command)
    command.set_defaults(run=_demo)


def _demo(chosen: argparse.Namespace) -> int:
    steps = Progress(quiet=chosen.json)
    out = chosen.out.resolve() / time.strftime("%Y%m%d-%H%M%S")
    packages = [load_package(path) for path in models_in(chosen.models)]
    package = resolve(chosen.task or _first_task(packages), packages)
    config_file = _configure(chosen, package, out)
    config = load(config_file)
    peer_file = out / "pacs.yaml"
    with _started(peer_file, "--only", "listener"), _started(config_file):
        steps.say("starting a node and a small PACS on this machine")
        node_target = Target(ae=config.node.ae_title, host="127.0.0.1", port=config.node.port)
        _wait_for(node_target, config.targets["pacs"])
        study_uid = generate_uid()
        frame_uid = generate_uid()
        results = []
        for number, scene in enumerate(SCENES[package.manifest.task], start=1):
            labelling = Labelling(
                patient_name="Colin^Twentyseven",
                study_description="Colin27, whole-head average",
                series_description=scene.description,
                series_number=number,
                study_uid=study_uid,
                frame_of_reference_uid=frame_uid,
            )
            scan = _series(scene, out / "sent" / scene.name, labelling)
            steps.say(f"sending {len(scan.files)} slices, {scene.description}, by C-STORE")
            send_files(node_target, PEER_AE, scan.files)
            results.append(_result(config, scan, scene, out, steps))
    _print_results(chosen, results, config_file, study_uid)
    return 0


def _first_task(packages: list[Package]) -> str:
    tasks = {package.manifest.task for package in packages}
    return next((task for task in SCENES if task in tasks), next(iter(SCENES)))


def _configure(chosen: argparse.Namespace, package: Package, out: Path) -> Path:
    """Write the configurations of the node and of the listener that stands for the PACS."""
    out.mkdir(parents=True)
    node_port, peer_port, page_port = _free_ports(3)
    offered: list[str] = list(package.manifest.sizes)
    students = [size for size in offered if size != "teacher"]
    size = chosen.size or (students or offered)[0]
    package.size(size)
    text: dict[str, Any] = {
        "node": {"ae_title": "SEGNODE", "host": "127.0.0.1", "port": node_port},
        "data": {"dir": str(out / "node"), "stop_accepting_below": "100 MiB"},
        "callers": [{"ae": PEER_AE, "host": "127.0.0.1"}],
        "targets": {
            "pacs": {"ae": PEER_AE, "host": "127.0.0.1", "port": peer_port, "confirm": "none"}
        },
        "model": {"dir": str(chosen.models.resolve()), "size": size},
        "page": {"port": page_port},
        "limits": {"niceness": 0},  # a person waits for the demo
        # the demo does not wait a minute after an interrupted association
        "complete": {"quiet": "5 s"},
        "rules": [
            {
                "name": "demo",
                "when": {"modality": "MR", "description": "T1"},
                "use": package.name,
                "send_to": ["pacs"],
            }
        ],
    }
    (out / "node.yaml").write_text(yaml_strict.dump(text), encoding="utf-8")
    peer = {
        "node": {"ae_title": PEER_AE, "host": "127.0.0.1", "port": peer_port},
        "data": {"dir": str(out / "pacs"), "stop_accepting_below": "100 MiB"},
        "callers": "any",
        "page": {"enabled": False},
    }
    (out / "pacs.yaml").write_text(yaml_strict.dump(peer), encoding="utf-8")
    return out / "node.yaml"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def _started(config_file: Path, *arguments: str) -> Iterator[None]:
    """Run `segnode serve` with its log in the demo's folder."""
    command = [sys.executable, "-m", "node", "serve", "--config", str(config_file), "--lifeline"]
    command += arguments
    with config_file.with_suffix(".log").open("wb") as log:
        # `--lifeline`: the process ends when this pipe closes
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.communicate()


def _wait_for(*targets: Target) -> None:
    deadline = time.monotonic() + LONGEST_S
    for target in targets:
        while True:
            try:
                send_echo(target, PEER_AE)
                break
            except Exception as exc:
                if time.monotonic() > deadline:
                    message = f"{target.ae} did not start within {LONGEST_S:.0f} s"
                    raise TimedOut(
                        message, advice="See the .log files in the folder of the demo."
                    ) from exc
                time.sleep(0.2)


def _series(scene: Scene, folder: Path, labelling: Labelling) -> Composed:
    source = files("node.commands.demo") / scene.image
    now = datetime.fromtimestamp(time.time(), UTC)
    with as_file(source) as path:
        return compose(read_volume(path), folder, labelling, now)


def _ended(
    config: Config, scan: Composed, scene: Scene, out: Path, steps: Progress
) -> queue.SeriesHistory:
    """Print each event of a series as it happens; return the history at its end."""
    engine = schema.open_configured(config.data)
    printed = 0
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        histories = queue.histories(engine, series_uid=scan.series_uid)
        events = queue.events_of(engine, study_uid=scan.study_uid)
        segment = histories[0].segment if histories else None
        words = [
            f"{_work(one.job_id, segment)}{in_words(one.event)}"
            for one in events
            if one.series_uid == scan.series_uid
        ]
        for text in words[printed:]:
            steps.say(f"  {scene.name}: {text}")
        printed = len(words)
        if histories and histories[0].ending is not Ending.IN_PROGRESS:
            return histories[0]
        time.sleep(0.1)
    message = f"no result for {scene.name} within {LONGEST_S:.0f} s"
    raise TimedOut(message, advice=f"See {out / 'node.log'}.")


def _work(job_id: int | None, segment: queue.Job | None) -> str:
    """Return which work an event is about, before its verb."""
    if job_id is None:
        return ""
    return "segmentation " if segment is not None and segment.id == job_id else "delivery "


def _result(config: Config, scan: Composed, scene: Scene, out: Path, steps: Progress) -> Result:
    """Wait for the SEG of one series in the PACS, verify it and write its picture."""
    sent_at = time.time()
    history = _ended(config, scan, scene, out, steps)
    peer = Inbox(out / "pacs" / "inbox")
    if history.ending is not Ending.DELIVERED or history.segment is None:
        reason = history.arrival.reason or (history.segment.reason if history.segment else "")
        raise Defect(f"{scene.name} ended as {history.ending}: {reason}")
    arrived = time.time()
    received = [file.path for folder in peer.series_folders() for file in peer.instances(folder)]
    newest = max(received, key=lambda path: path.stat().st_mtime_ns)
    source = series.read(scan.files)
    package = resolve(
        history.arrival.package, [load_package(p) for p in models_in(config.model.dir)]
    )
    segments = package.manifest.segments
    labels = seg.read_labels(newest, source)
    seg.verify(newest, source, labels, segments)
    picture = out / f"{package.manifest.task}_{scene.name}.png"
    caveats = history.segment.segment_result().caveats
    preview.preview(source.volume, labels, segments, picture, caveats)
    copy = out / f"seg_{scene.name}.dcm"
    copy.write_bytes(newest.read_bytes())
    volumes = labels.volumes_ml(package.manifest.numbers)
    volumes_ml = {segment.label: volumes[segment.number] for segment in segments}
    cut = tuple(name for caveat in caveats for name in caveat.structures)
    return Result(scene.name, copy, picture, volumes_ml, cut, arrived - sent_at)


def _print_results(
    chosen: argparse.Namespace, results: list[Result], config_file: Path, study_uid: str
) -> None:
    if chosen.json:
        print_json(results)
        return
    rows = [
        (result.scene, label, marked(volume, is_cut=label in result.cut))
        for result in results
        for label, volume in result.volumes_ml.items()
    ]
    print()
    print_table(("series", "structure", "ml"), rows)
    print()
    for result in results:
        print(
            f"{result.scene:<5}  {result.seconds:.1f} s from the last slice to the SEG in the PACS"
        )
        print(f"       SEG      {result.seg_file}")
        print(f"       picture  {result.picture}")
    print(f"\nthe history: segnode explain --config {config_file} {study_uid}")
    for result in results if chosen.open else []:
        webbrowser.open(result.picture.as_uri())
