"""`segnode send-test`: send a test result to a target, and say what the target kept of it."""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from node.commands.exits import FAILED, OK
from node.commands.options import add_config, add_json, load_config, print_json
from node.commands.terminal import Progress, say
from node.config import AUTO, Config
from node.encoding import Encoding, chosen_encoding
from node.engines import ONNXRUNTIME
from node.errors import Misconfigured
from node.imaging import Volume
from node.imaging.nifti import read_volume
from node.package import Use, smallest, uses
from node.package.folder import file_digest
from node.queue import DeliverPayload
from node.segmenter import SegmentRequest, identity_of, segment_series
from node.segmenter.messages import OutboxObject
from node.sender import Trial, peer_of, send_series, send_trial
from node.series.compose import Composed, Labelling, compose
from node.tls import Credentials

PATIENT_NAME, PATIENT_ID = "SEGNODE^TEST", "SEGNODE-TEST"
DESCRIPTION = "segnode send-test, not a patient"
WORDS: dict[str, str] = {
    "seg": "segmentation",
    "report": "report",
    "rtstruct": "contours",
    "picture": "picture",
}


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `send-test` to the command line."""
    command = commands.add_parser(
        "send-test",
        help="send a test result to a target, and say what the target kept",
        description="Segment the reference case of a package as a series of the test patient "
        f"{PATIENT_NAME} ({PATIENT_ID}), and send the objects that the target gets from this node. "
        "The queue, its counts and the histories are not touched.",
        epilog="exit status: 0 the target stored every object and changed nothing; 1 it refused "
        "one, does not find one, or changed one; 75 it cannot be reached for now; 78 the "
        "configuration or a package is wrong",
    )
    command.add_argument("target", help="name of a target in the configuration")
    command.add_argument(
        "--with-images", action="store_true", help="send the images of the test patient too"
    )
    add_config(command)
    add_json(command)
    command.set_defaults(run=_send_test)


def _send_test(chosen: argparse.Namespace) -> int:
    config = load_config(chosen)
    if chosen.target not in config.targets:
        known = ", ".join(config.targets) or "none"
        message = f"no target {chosen.target!r}"
        raise Misconfigured(message, advice=f"Targets in {chosen.config}: {known}.")
    use = _use(config, chosen.target)
    credentials = Credentials(config.tls) if config.tls.is_on else None
    peer = peer_of(config, chosen.target, credentials)
    progress = Progress(quiet=chosen.json)
    with tempfile.TemporaryDirectory(prefix="segnode-send-test-") as name:
        folder = Path(name)
        volume = read_volume(use.package.folder / use.package.manifest.reference.image)
        source = _source(use, volume, folder / "series")
        target = peer.target
        encoding = chosen_encoding(target.seg, volume.grid.shape, empty_frames=target.empty_frames)
        progress.say(f"segmenting the reference case of {use.package.name}")
        request = _request(config, use, source, folder / "out", encoding)
        if target.report:
            request = msgspec.structs.replace(request, reports=(encoding,))
        request = msgspec.structs.replace(request, rtstruct=target.rtstruct, picture=target.picture)
        done = segment_series(request, config.limits.threads, lambda *_: None).done
        images = source.files if chosen.with_images else ()
        if images:
            progress.say(f"sending {len(images)} images to {peer.place}")
            send_series(peer, images)
        objects = [one for one in done.objects if one.kind != "seg" or target.seg != "none"]
        progress.say(f"sending {len(objects)} objects to {peer.place}")
        trials = [
            send_trial(peer, _payload(source, one, chosen.target), folder / "out" / one.name,
                       WORDS[one.kind], folder)
            for one in objects
        ]  # fmt: skip
    if chosen.json:
        facts = {"study_uid": source.study_uid, "patient_id": PATIENT_ID, "images": len(images)}
        print_json(facts | {"objects": trials})
    else:
        _print(trials, source)
    return OK if all(trial.is_good for trial in trials) else FAILED


def _use(config: Config, target: str) -> Use:
    """Return the package whose results the target gets; without one, any package of a rule."""
    required = {use.rule: use for use in uses(config)}
    rules = [rule for rule in config.rules if rule.name in required]
    rules.sort(key=lambda rule: target not in rule.send_to)  # stable
    if not rules:
        message = "no rule uses a model, so there is nothing to send"
        raise Misconfigured(message, advice="Add a rule with a model for this target.")
    return required[rules[0].name]


def _source(use: Use, volume: Volume, folder: Path) -> Composed:
    """Write the reference case as a series of the test patient."""
    labelling = Labelling(
        modality=use.package.manifest.input.modality,
        patient_name=PATIENT_NAME,
        patient_id=PATIENT_ID,
        study_description=DESCRIPTION,
        series_description=f"test images for {use.package.name}"[:64],
    )
    return compose(volume, folder, labelling, datetime.fromtimestamp(time.time(), UTC))


def _request(
    config: Config, use: Use, source: Composed, out: Path, encoding: Encoding
) -> SegmentRequest:
    """Return the request for the smallest size: the target is on trial, not the model."""
    digests = "\n".join(sorted(file_digest(path) for path in source.files))
    return SegmentRequest(
        job=0,
        folder=str(out),
        files=tuple(str(path) for path in source.files),
        inputs_digest=hashlib.sha256(digests.encode()).hexdigest(),
        package=str(use.package.folder),
        package_digest=use.package.digest,
        size=smallest(use.package.manifest),
        why=DESCRIPTION,
        encodings=(encoding,),
        identity=identity_of(config),
        created_at=time.time(),
        outbox=str(out),
        engine=ONNXRUNTIME if config.model.engine == AUTO else config.model.engine,
    )


def _payload(source: Composed, written: OutboxObject, target: str) -> DeliverPayload:
    return DeliverPayload(
        file=written.name,
        sha256=written.sha256,
        size_bytes=written.size_bytes,
        sop_class_uid=written.sop_class_uid,
        sop_instance_uid=written.sop_instance_uid,
        study_uid=source.study_uid,
        series_uid=written.series_uid,
        target=target,
    )


def _print(trials: Sequence[Trial], source: Composed) -> None:
    for trial in trials:
        say(f"{'ok  ' if trial.is_good else 'FAIL'}  {trial.object}: {_outcome(trial)}")
        for text in (trial.note, trial.advice):
            if text:
                say(f"      {text}")
        if trial.changed:
            say(f"      changed or removed by the target: {', '.join(trial.changed)}")
        if trial.added:
            say(f"      added by the target: {', '.join(trial.added)}")
    say(f"patient {PATIENT_NAME}, ID {PATIENT_ID}, study {source.study_uid}")
    say("Delete this study at the target when you have looked at it.")


def _outcome(trial: Trial) -> str:
    if trial.problem:
        return trial.problem
    parts = [trial.status, f"written in {trial.transfer_syntax}"]
    parts.append(f"confirmed by {trial.confirmed_by}" if trial.confirmed_by else "not confirmed")
    if trial.retrieved and not trial.changed:
        parts.append("returned as it was sent")
    return ", ".join(parts)
