"""`segnode status` and `jobs`: the state of the node and of its jobs."""

import argparse
import time
from typing import Any

import sqlalchemy as sa

from node import housekeeping, queue, schema, status
from node.commands import replan
from node.commands.exits import NOT_RUNNING, OK
from node.commands.explain import reason_for
from node.commands.options import (
    add_config,
    add_json,
    load_config,
    print_json,
    whole,
)
from node.commands.replan import NothingFound
from node.commands.terminal import local_time, print_table, say
from node.config import AUTO, Config
from node.states import ENDED, IllegalTransition, Kind, State


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `status` and `jobs` to the command line."""
    shown = commands.add_parser(
        "status",
        help="processes, queue, targets, newest series",
        description="Show processes, queue, targets and the newest series. Changes nothing.",
        epilog="exit status: 0 all four loops run; 69 the named loops do not run; "
        "74 access is denied; 75 the database is locked or unreachable; 78 the configuration or "
        "the database cannot be read",
    )
    shown.set_defaults(run=_status)
    jobs = commands.add_parser("jobs", help="list, show, retry, resend or cancel jobs")
    actions = jobs.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="the newest jobs")
    listed.add_argument("--state", choices=[state.value for state in State])
    listed.add_argument("--kind", choices=[kind.value for kind in Kind])
    listed.add_argument("--limit", type=whole, default=30, help="number of jobs (default: 30)")
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
        action.add_argument("job", type=whole)
        action.set_defaults(run=run)
    replan = actions.add_parser("replan", help="apply the current rules to a study without a job")
    replan.add_argument("study", help="Study or Series Instance UID")
    replan.add_argument(
        "--use",
        choices=[content.value for content in housekeeping.Content],
        help="for a held series: which version of each duplicated image to use",
    )
    replan.set_defaults(run=_jobs_replan)
    for command in (shown, listed, show, retry, resend, cancel, replan):
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


def _status(chosen: argparse.Namespace) -> int:
    config, engine = _open_read_only(chosen)
    seen = status.snapshot(config, engine, time.time())
    waiting = queue.arriving_series(engine)
    if chosen.json:
        print_json({"not_running": seen.not_running, "snapshot": seen, "arriving": waiting})
    else:
        _print_processes(seen)
        _print_models(seen)
        _print_work(seen, waiting)
    return NOT_RUNNING if seen.not_running else OK


def _print_processes(seen: status.Snapshot) -> None:
    say(f"{seen.ae_title}  {seen.free_gib:.1f} GiB free", end="")
    say("" if seen.accepting else "  LOW: images are rejected with a transient status")
    for process in seen.processes:
        last = f", last seen {_ago(process.last_seen_s)} ago" if process.last_seen_s else ""
        say(f"  {process.name:<12}  {'running' if process.alive else f'NOT RUNNING{last}'}")
    if seen.not_running:
        say("  `segnode serve` starts them; its log has the reason why one ended")
    say()


def _print_models(seen: status.Snapshot) -> None:
    fastest = "auto (fastest engine that reproduces the reference case)"
    chosen = fastest if seen.engine == AUTO else f"{seen.engine} (configured)"
    rest = "" if seen.models else " Not benchmarked yet: run `segnode models bench`."
    say(f"Engine: {chosen}.{rest}")
    for model in seen.models:
        cost = f"{model.engine}, reference case {model.seconds:.2f} s, {model.peak_mb:.0f} MiB"
        say(f"  {model.package} {model.size:<8} {model.problem or cost}")
    say()


def _print_work(seen: status.Snapshot, waiting: list[queue.ArrivingSeries]) -> None:
    states = [state.value for state in State]
    print_table(("jobs", *states), [(k, *(row[s] for s in states)) for k, row in seen.jobs.items()])
    say()
    head = ("target", "AE", "address", "queued", "since", "last problem")
    print_table(
        head,
        [
            (t.name, t.ae, t.address, t.waiting, _ago(t.oldest_s), t.last_problem)
            for t in seen.targets
        ],
    )
    say()
    rows = [
        (
            local_time(s.arrival.last_at),
            s.arrival.series_uid,
            f"{s.arrival.package} {s.arrival.size}".strip(),
            s.ending.value,
            reason_for(s),
        )
        for s in seen.series
    ]
    rows += [("arriving", w.series_uid, "", f"{w.instances} images", w.why) for w in waiting]
    print_table(("received", "series", "model", "ending", "reason"), rows)
    for note in seen.notes:
        say()
        say(f"{local_time(note.at)} {note.what}: {note.detail}")


def _jobs_list(chosen: argparse.Namespace) -> int:
    _, engine = _open_read_only(chosen)
    found = queue.list_jobs(
        engine,
        kind=Kind(chosen.kind) if chosen.kind else None,
        state=State(chosen.state) if chosen.state else None,
        limit=chosen.limit,
    )
    if chosen.json:
        print_json([_plain(job) for job in found])
        return 0
    print_table(
        ("job", "kind", "state", "target", "attempts", "updated", "series", "reason"),
        [
            (j.id, j.kind.value, j.state.value, j.target or "-", j.attempts,
             local_time(j.updated_at), j.series_uid, j.reason)
            for j in found
        ],
    )  # fmt: skip
    return 0


def _jobs_show(chosen: argparse.Namespace) -> int:
    _, engine = _open_read_only(chosen)
    job = _guarded(lambda: queue.get(engine, chosen.job))
    events = queue.events_of(engine, job_id=job.id)
    if chosen.json:
        print_json(_plain(job) | {"events": events})
        return 0
    for key, value in _plain(job).items():
        if value not in (None, "", {}):
            shown = local_time(value) if key.endswith("_at") else value
            say(f"{key:<12} {shown}")
    print_table(("at", "event", "detail"), [(local_time(e.at), e.what, e.detail) for e in events])
    return 0


def _jobs_retry(chosen: argparse.Namespace) -> int:
    _, engine = _open(chosen)
    job = _guarded(lambda: queue.requeue(engine, chosen.job, time.time()))
    return _print_job(chosen, job, "queued again")


def _jobs_cancel(chosen: argparse.Namespace) -> int:
    _, engine = _open(chosen)
    job = _guarded(lambda: queue.cancel(engine, chosen.job, time.time()))
    text = "cancelled" if job.state is State.CANCELLED else "will be stopped by its worker"
    return _print_job(chosen, job, text)


def _jobs_replan(chosen: argparse.Namespace) -> int:
    config, engine = _open(chosen)
    content = housekeeping.Content(chosen.use) if chosen.use else None
    planned = replan.replan(config, engine, chosen.study, content, time.time())
    if chosen.json:
        print_json([{"series": series, "job": job_id} for series, job_id in planned])
    for series, job_id in [] if chosen.json else planned:
        say(f"series {series}: {_describe_job(engine, job_id)}")
    return 0


def _jobs_resend(chosen: argparse.Namespace) -> int:
    config, engine = _open(chosen)
    job = _guarded(lambda: replan.resend(config, engine, chosen.job, time.time()))
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
    except (LookupError, IllegalTransition, queue.SameWork, queue.AlreadySuperseded) as exc:
        raise NothingFound(str(exc), advice="`segnode jobs list` shows the jobs.") from exc
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


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
