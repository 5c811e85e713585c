"""`segnode jobs`: list, show, retry, resend, cancel and replan jobs."""

import argparse
import time
from typing import Any

import sqlalchemy as sa

from node import queue, schema, status
from node.commands.identify import job_of, job_or_study, jobs_of, nothing_known, study_of
from node.commands.options import (
    add_config,
    add_json,
    load_config,
    load_running,
    print_json,
    who,
    whole,
)
from node.commands.terminal import local_time, print_table, say
from node.config import Config
from node.errors import NotFound
from node.event_words import in_words
from node.states import ENDED, LIVE, Content, IllegalTransition, Kind, State

REFUSED = (queue.SameWork, queue.AlreadySuperseded, queue.Archived)
JOB = "number of a job; or a UID or accession number, if one job of the study fits"


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `jobs` to the command line."""
    jobs = commands.add_parser("jobs", help="list, show, retry, resend or cancel jobs")
    actions = jobs.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="the newest jobs")
    listed.add_argument("--state", choices=[state.value for state in State])
    listed.add_argument("--kind", choices=[kind.value for kind in Kind])
    listed.add_argument("--limit", type=whole, default=30, help="number of jobs (default: 30)")
    listed.add_argument("--study", metavar="UID", help="of one study or series, or its accession")
    listed.set_defaults(run=_jobs_list)
    show = actions.add_parser("show", help="print all facts and events of one job")
    retry = actions.add_parser("retry", help="queue a job that ended without a result")
    cancel = actions.add_parser("cancel", help="cancel a queued job, or stop a running one")
    resend = actions.add_parser(
        "resend", help="send a result again; segment again if its file is missing"
    )
    for action, run in (
        (show, _jobs_show),
        (retry, _jobs_retry),
        (resend, _jobs_resend),
        (cancel, _jobs_cancel),
    ):
        action.add_argument("job", type=job_or_study, help=JOB)
        action.set_defaults(run=run)
    resend.add_argument(
        "--retracted", action="store_true", help="send it although a person retracted it"
    )
    replan = actions.add_parser("replan", help="apply the current rules to a study without a job")
    replan.add_argument("study", help="Study or Series Instance UID, or accession number")
    replan.add_argument(
        "--use",
        choices=[content.value for content in Content],
        help="for a held series: which version of each duplicated image to use",
    )
    replan.add_argument(
        "--part",
        type=whole,
        help="for a held series whose parts contradict each other: the part to use, as `segnode "
        "explain` numbers them",
    )
    replan.set_defaults(run=_jobs_replan)
    for command in (listed, show, retry, resend, cancel, replan):
        add_config(command)
        add_json(command)


def _open(chosen: argparse.Namespace) -> tuple[Config, sa.Engine]:
    """Open the database for a command that changes it."""
    config = load_config(chosen)
    return config, schema.open_configured(config.data)


def _open_read_only(chosen: argparse.Namespace) -> tuple[Config, sa.Engine]:
    """Open the database for a command that only reads."""
    config = load_config(chosen)
    return config, status.open_read_only(config.data)


def _jobs_list(chosen: argparse.Namespace) -> int:
    config, engine = _open_read_only(chosen)
    uid = study_of(engine, config.data, chosen.study) if chosen.study else None
    if uid and not jobs_of(engine, uid, limit=1):
        raise nothing_known(engine, config.data, uid)
    is_series = bool(uid) and not queue.list_jobs(engine, study_uid=uid, limit=1)
    jobs = queue.list_jobs(
        engine,
        kind=Kind(chosen.kind) if chosen.kind else None,
        state=State(chosen.state) if chosen.state else None,
        study_uid=None if is_series else uid,
        series_uid=uid if is_series else None,
        limit=chosen.limit,
    )
    if chosen.json:
        print_json([_plain(job) for job in jobs])
        return 0
    print_table(
        ("job", "kind", "state", "target", "attempts", "updated", "series", "reason"),
        [
            (j.id, j.kind.value, j.state.value, j.target or "-", j.attempts,
             local_time(j.updated_at), j.series_uid, j.reason)
            for j in jobs
        ],
    )  # fmt: skip
    return 0


def _jobs_show(chosen: argparse.Namespace) -> int:
    config, engine = _open_read_only(chosen)
    job_id = job_of(engine, config.data, chosen.job, set(State), "show")
    job = _guarded(lambda: queue.get(engine, job_id))
    events = queue.events_of(engine, job_id=job.id)
    if chosen.json:
        print_json(_plain(job) | {"events": events})
        return 0
    for key, value in _plain(job).items():
        if value not in (None, "", {}):
            shown = local_time(value) if key.endswith("_at") else value
            say(f"{key:<12} {shown}")
    print_table(
        ("at", "event", "by", "detail"),
        [(local_time(e.at), in_words(e.event), e.actor, e.detail) for e in events],
    )
    return 0


def _jobs_retry(chosen: argparse.Namespace) -> int:
    config, engine = _open(chosen)
    job_id = job_of(engine, config.data, chosen.job, ENDED - {State.DONE}, "retry")
    job = _guarded(lambda: queue.requeue(engine, job_id, time.time(), who()))
    return _print_job(chosen, job, "queued again")


def _jobs_cancel(chosen: argparse.Namespace) -> int:
    config, engine = _open(chosen)
    job_id = job_of(engine, config.data, chosen.job, LIVE, "cancel")
    job = _guarded(lambda: queue.cancel(engine, job_id, time.time(), who()))
    text = "cancelled" if job.state is State.CANCELLED else "will be stopped by its worker"
    return _print_job(chosen, job, text)


def _jobs_replan(chosen: argparse.Namespace) -> int:
    config = load_running(chosen)
    engine = schema.open_configured(config.data)
    from node import replan

    content = Content(chosen.use) if chosen.use else None
    uid = study_of(engine, config.data, chosen.study)
    planned = replan.replan(config, engine, uid, time.time(), content, chosen.part, by=who())
    if chosen.json:
        print_json([{"series": series, "job": job_id} for series, job_id in planned])
    for series, job_id in [] if chosen.json else planned:
        say(f"series {series}: {_describe_job(engine, job_id)}")
    return 0


def _jobs_resend(chosen: argparse.Namespace) -> int:
    from node import replan

    config, engine = _open(chosen)
    job_id = job_of(engine, config.data, chosen.job, ENDED, "resend")
    job = _guarded(
        lambda: replan.resend(
            config, engine, job_id, time.time(), who(), may_be_retracted=chosen.retracted
        )
    )
    makes = "; it makes the same objects again and sends them to each target"
    return _print_job(chosen, job, f"queued again{makes if job.kind is Kind.SEGMENT else ''}")


def _describe_job(engine: sa.Engine, job_id: int | None) -> str:
    if job_id is None:
        return "no job; `segnode explain` has the reason"
    state = queue.get(engine, job_id).state
    ended_badly = state in ENDED - {State.DONE}
    more = f"; `segnode jobs retry {job_id}` queues it again" if ended_badly else ""
    return f"job {job_id} is {state}{more}"


def _guarded(act: Any) -> queue.Job:
    """Turn the exceptions of the queue into a message for a person."""
    try:
        job: queue.Job = act()
    except (
        LookupError,
        IllegalTransition,
        queue.SameWork,
        queue.AlreadySuperseded,
        queue.Archived,
    ) as exc:
        raise NotFound(str(exc), advice="`segnode jobs list` shows the jobs.") from exc
    return job


def _print_job(chosen: argparse.Namespace, job: queue.Job, text: str) -> int:
    if chosen.json:
        print_json(_plain(job))
    else:
        say(f"job {job.id} {text}")
    return 0


def _plain(job: queue.Job) -> dict[str, Any]:
    shown = {key: value for key, value in vars(job).items() if key not in ("payload", "result")}
    return shown | {"payload": queue.as_plain(job.payload), "result": queue.as_plain(job.result)}
