"""`segnode retract`: reject a delivered result at the targets that have it."""

import argparse
import time

from node import queue, schema
from node.commands.exits import OK
from node.commands.identify import job_of, job_or_study
from node.commands.options import add_config, add_json, load_running, print_json, who
from node.commands.terminal import say
from node.dicom.key_objects import REJECTIONS
from node.errors import NotFound
from node.states import State

LONGEST_REASON = 200  # characters


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `retract` to the command line."""
    command = commands.add_parser(
        "retract",
        help="reject a delivered result at the targets that have it",
        description="Queue a rejection note (Key Object Selection, IHE IOCM) for all objects of a "
        "result to each target that has them. The history keeps who did it and why. The result is "
        "sent again only with `segnode jobs resend N --retracted`.",
    )
    command.add_argument(
        "job", type=job_or_study, help="number of the segmentation or of a delivery; or a UID or "
        "accession number, if one delivery of the study fits",
    )  # fmt: skip
    command.add_argument(
        "--because", required=True, type=_reason, metavar="TEXT",
        help="the reason, for readers and the history; without names of patients",
    )  # fmt: skip
    command.add_argument(
        "--reason", choices=REJECTIONS, default="quality",
        help="the coded reason (default: quality, Rejected for Quality Reasons)",
    )  # fmt: skip
    add_config(command)
    add_json(command)
    command.set_defaults(run=_retract)


def _reason(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > LONGEST_REASON:
        message = f"write one line of 1 to {LONGEST_REASON} characters"
        raise argparse.ArgumentTypeError(message)
    return text.strip()


def _retract(chosen: argparse.Namespace) -> int:
    from node.retract import retract

    config = load_running(chosen)
    engine = schema.open_configured(config.data)
    job_id = job_of(engine, config.data, chosen.job, {State.DONE}, "retract")
    title = REJECTIONS[chosen.reason]
    try:
        queued = retract(config, engine, job_id, title, chosen.because, time.time(), by=who())
    except queue.NoSuchJob as exc:
        raise NotFound(str(exc), advice="`segnode jobs list` shows the jobs.") from exc
    if chosen.json:
        print_json([{"job": job.id, "target": job.target} for job in queued])
    for job in [] if chosen.json else queued:
        say(f"job {job.id} sends the rejection note to {job.target}")
    return OK
