"""`segnode explain`: the history of a study, or what would happen with a folder."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from node import queue, status, volumes
from node.commands.exits import OK, UNSUITABLE
from node.commands.identify import nothing_known, study_of
from node.commands.options import add_config, add_json, load_config, print_json
from node.commands.terminal import Progress, local_time, print_table, say
from node.config import Config
from node.errors import Misconfigured, NotFound
from node.event_words import in_words, object_words
from node.states import ArrivalOutcome

UID_OR_NUMBER = re.compile(r"[0-9.]+")
INBOX_FOLDERS = ("tmp", "series", "notes")


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `explain` to the command line."""
    explain = commands.add_parser(
        "explain",
        help="print the history of a study: images, decisions, attempts, ending; or what would "
        "happen with a folder of images",
        epilog="exit status for a folder: 0 a series would be segmented; 65 none would be; "
        "1 there is no DICOM instance",
    )
    explain.add_argument(
        "study",
        metavar="STUDY|FOLDER",
        help="Study or Series Instance UID, or accession number; or a folder (with a slash, like "
        "./images), of which nothing is received",
    )
    explain.add_argument("--caller", default="", help="for a folder: the AE title that would send")
    add_config(explain)
    add_json(explain)
    explain.set_defaults(run=_explain)


def _explain(chosen: argparse.Namespace) -> int:
    config = load_config(chosen)
    if _is_folder(chosen.study):
        return _explain_folder(chosen, config)
    engine = status.open_read_only(config.data)
    uid = study_of(engine, config.data, chosen.study)
    histories = queue.histories(engine, study_uid=uid) or queue.histories(engine, series_uid=uid)
    waiting = [w for w in queue.arriving_series(engine) if uid in (w.study_uid, w.series_uid)]
    studies = {s.arrival.study_uid for s in histories} | {w.study_uid for w in waiting} or {uid}
    events = [event for study in studies for event in queue.events_of(engine, study_uid=study)]
    if not histories and not waiting and not events:
        if _is_received(config, uid):
            message = f"images of {uid} arrived, and housekeeping has not read them yet"
            raise NotFound(message, advice="`segnode status` shows whether it runs.")
        raise nothing_known(engine, config.data, uid)
    if chosen.json:
        others = {
            one.arrival.id: queue.other_instruments(engine, one.arrival.id) for one in histories
        }
        print_json(
            {
                "series": histories,
                "arriving": waiting,
                "events": events,
                "other_instruments": others,
            }
        )
        return 0
    earlier = [event for event in events if event.event == queue.EARLIER_RULES]
    for history in histories:
        print_history(history, [e.detail for e in earlier if e.arrival_id == history.arrival.id])
        _print_other_instruments(queue.other_instruments(engine, history.arrival.id))
    for series in waiting:
        at = local_time(series.until) if series.until else ""
        until = f", planned at {at} if no image follows" if at else ""
        say(f"series {series.series_uid}")
        say(f"  still arriving: {series.instances} images", end="")
        say(f" from {series.caller_ae or 'unknown'}; {series.why}{until}")
        say()
    print_table(
        ("at", "event", "by", "job", "detail"),
        [(local_time(e.at), in_words(e.event), e.actor, e.job_id or "-", e.detail) for e in events],
    )
    return 0


def _is_folder(study: str) -> bool:
    """Return whether a person means a folder: a UID or an accession number has no slash."""
    is_named_so = not UID_OR_NUMBER.fullmatch(study) and Path(study).is_dir()
    return os.sep in study or study in (".", "..") or is_named_so


def _explain_folder(chosen: argparse.Namespace, config: Config) -> int:
    from node.commands.explain_folder import explain_folder, print_explained  # it reads images

    folder = Path(chosen.study)
    if not folder.exists():
        message = f"{folder} does not exist"
        raise Misconfigured(message, advice="Name a folder of DICOM files, or a UID.")
    progress = Progress(quiet=chosen.json)
    explained, skipped = explain_folder(config, folder, chosen.caller, progress)
    if chosen.json:
        print_json({"series": explained, "not_read": skipped})
    else:
        print_explained(explained, skipped)
    return OK if any(one.outcome == ArrivalOutcome.PLANNED for one in explained) else UNSUITABLE


def _is_received(config: Config, uid: str) -> bool:
    """Return whether images of a study or series are in the inbox."""
    from node.inbox import Inbox, read_series

    inbox = config.data.dir / "inbox"
    if not all((inbox / part).is_dir() for part in INBOX_FOLDERS):  # `Inbox` would create them
        return False
    records = (read_series(folder.path) for folder in Inbox(inbox).series_folders())
    return any(record is not None and uid in (record.study, record.series) for record in records)


def print_history(history: queue.SeriesHistory, earlier: Sequence[str] = ()) -> None:
    """Print the images, the decision, the ending and the volumes.

    `earlier` has the rules before the deciding one, of each decision about the series.
    """
    arrival = history.arrival
    say(f"series {arrival.series_uid}")
    images = f"{arrival.modality} images".lstrip()
    say(f"  {arrival.instances} {images} from {arrival.caller_ae or 'unknown'}")
    if arrival.rule:
        _print_rule(history, earlier)
    say(f"  ended as {history.ending.value}", end="")
    say(f": {history.reason}" if history.reason else "")
    segment = history.segment
    advice = arrival.advice or (segment.advice if segment is not None else "")
    if advice:
        say(f"  {advice}")
    _print_deliveries(history.deliveries)
    if history.segment is not None and history.segment.result:
        result = queue.as_plain(history.segment.result)
        say()
        cut = volumes.cut_structures(result.get("caveats", ()))
        print_table(*volumes.table(result.get("volumes_ml", {}), result.get("sums_ml", {}), cut))
        say()
        for caveat in result.get("caveats", ()):
            say(f"  caveat: {caveat['text']}")
    say()


def _print_other_instruments(others: Sequence[queue.OtherInstrument]) -> None:
    """Warn that volumes of this patient were measured with another size or version before."""
    for one in others:
        say(
            f"  not comparable: this patient had {one.package}, size {one.size}, on "
            f"{local_time(one.at)}"
        )
    if others:
        say("  volumes differ between sizes and versions; `comparable: true` keeps a size")
        say()


def _print_deliveries(deliveries: Sequence[queue.Job]) -> None:
    """Print each delivery with its target, state, reason and advice."""
    for job in deliveries:
        reason = f": {job.reason}" if job.reason else ""
        sent = object_words(queue.as_plain(job.payload).get("sop_class_uid", ""))
        say(f"  job {job.id}, {sent} to {job.target}: {job.state.value}{reason}")
        if job.advice:
            say(f"    {job.advice}")


def _print_rule(history: queue.SeriesHistory, earlier: Sequence[str]) -> None:
    """Print the deciding rule with its model, and why the rules before it did not match."""
    arrival = history.arrival
    model = f": {arrival.package}, size {arrival.size}" if arrival.package else ""
    say(f"  rule {arrival.rule}{model}")
    for reasons in earlier[-1:]:  # of the current decision
        say(f"  earlier rules did not match: {reasons}")
    _print_choice(history)


def _print_choice(history: queue.SeriesHistory) -> None:
    """Print the reason for the planned size and engine, and the engine that ran."""
    if history.segment is None:
        return
    why = queue.as_plain(history.segment.payload).get("why", "")
    ran = queue.as_plain(history.segment.result).get("engine", "")
    if why:
        say(f"  chosen: {why}")
    if ran:
        say(f"  computed by {ran}")
