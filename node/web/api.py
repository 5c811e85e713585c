"""The page as JSON, for other programs: the same rows, the same login, no patient data in URLs."""

import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

import node
from node import queue
from node.queue import StudyMatch
from node.states import Kind, State
from node.web import answer_structs as answers
from node.web.packages import SizeRow, package_rows
from node.web.refusals import Refused
from node.web.search import TYPED, check_dates, criteria_of, studies_after, unknown_of
from node.web.views import (
    MOST_EVENTS,
    MOST_SERIES,
    arrival_of,
    config_of,
    job_of,
    jobs_after,
    live_of,
)

JSON = "application/json"
LONGEST = 200  # characters of one criterion
MIB = 1 << 20


def as_json(value: object, status: int = 200) -> Response:
    """Return an answer."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


def node_status(request: Request) -> Response:
    """Return conditions, loops, targets, jobs by state, and the disk."""
    view = live_of(request).at(time.time())
    snapshot = view.snapshot
    conditions = tuple(
        answers.Condition(
            code=one.code.value, subject=one.subject, since=one.since, text=one.text,
            advice=one.advice,
        ) for one in view.conditions
    )  # fmt: skip
    loops = tuple(
        answers.Loop(name=one.name, is_running=one.alive, last_seen_s=one.last_seen_s)
        for one in (snapshot.processes if snapshot else ())
    )
    targets = tuple(
        answers.TargetSummary(
            name=one.name, ae_title=one.ae, address=one.address, waiting=one.waiting,
            oldest_s=one.oldest_s, last_problem=one.last_problem,
        ) for one in (snapshot.targets if snapshot else ())
    )  # fmt: skip
    return as_json(
        answers.NodeStatus(
            at=view.at,
            version=node.__version__,
            conditions=conditions,
            loops=loops,
            targets=targets,
            jobs=snapshot.jobs if snapshot else {},
            is_accepting=snapshot.accepting if snapshot else None,
            disk_free_bytes=int(snapshot.free_gib * (1 << 30)) if snapshot else None,
        )
    )


def search_studies(request: Request) -> Response:
    """Return the studies that meet the criteria of the body."""
    try:
        criteria = msgspec.json.decode(request.state.body, type=answers.StudyCriteria)
    except msgspec.MsgspecError as exc:
        text = f"The criteria cannot be read: {exc}."
        raise Refused(400, text, "/openapi.json describes them.") from exc
    typed = {name: getattr(criteria, name).strip()[:LONGEST].replace("\0", "") for name in TYPED}
    check_dates(typed["study_from"], typed["study_to"])
    shown = studies_after(request, criteria_of(typed), criteria.after)
    why = "" if shown["studies"] or not any(typed.values()) else str(unknown_of(request, typed))
    ids: dict[str, int] = shown["ids"]
    return as_json(
        answers.StudyList(
            studies=tuple(_study(one, ids.get(one.study_uid)) for one in shown["studies"]),
            next=None if shown["next"] is None else str(shown["next"]),
            unknown=why,
        )
    )


def _study(one: StudyMatch, number: int | None) -> answers.StudySummary:
    return answers.StudySummary(
        id=number,
        study_uid=one.study_uid,
        accession=one.accession,
        patient_id=one.patient_id,
        study_date=one.study_date,
        description=one.description,
        caller=one.caller_ae,
        last_at=one.last_at,
        modalities=one.modalities,
        endings={ending.value: count for ending, count in one.endings.items()},
        arriving=one.arriving,
    )


def one_study(request: Request) -> Response:
    """Return one study with its series, results, jobs and history."""
    engine = live_of(request).engine()
    this = arrival_of(request)
    series = queue.histories(engine, study_uid=this.study_uid, limit=MOST_SERIES)
    events = queue.events_of(engine, study_uid=this.study_uid, limit=MOST_EVENTS)
    return as_json(
        answers.StudyResult(
            id=this.id,
            study_uid=this.study_uid,
            series=tuple(_series(one) for one in series),
            events=tuple(
                answers.HistoryEvent(
                    at=one.at, event=one.event, actor=one.actor, job=one.job_id, detail=one.detail
                )
                for one in events
            ),
        )
    )


def _series(one: queue.SeriesHistory) -> answers.SeriesResult:
    arrival = one.arrival
    result = queue.as_plain(one.segment.result) if one.segment is not None else {}
    jobs = [job for job in (one.segment, *one.deliveries) if job is not None]
    return answers.SeriesResult(
        series_uid=arrival.series_uid,
        images=arrival.instances,
        modality=arrival.modality,
        caller=arrival.caller_ae,
        received_at=arrival.last_at,
        ending=one.ending.value,
        reason=one.reason,
        advice=arrival.advice,
        rule=arrival.rule,
        package=arrival.package,
        size=arrival.size,
        volumes_ml=result.get("volumes_ml", {}),
        sums_ml=result.get("sums_ml", {}),
        caveats=tuple(
            answers.ReaderCaveat(
                code=caveat["code"],
                text=caveat["text"],
                structures=tuple(caveat.get("structures", ())),
            )
            for caveat in result.get("caveats", ())
        ),
        jobs=tuple(_job(job) for job in jobs),
    )


def list_jobs(request: Request) -> Response:
    """Return jobs by state, kind and target."""
    jobs, _, following = jobs_after(request)
    return as_json(
        answers.JobList(
            jobs=tuple(_job(one) for one in jobs),
            next=None if following is None else str(following),
        )
    )


def one_job(request: Request) -> Response:
    """Return one job."""
    return as_json(_job(job_of(request)))


def _job(one: queue.Job) -> answers.JobSummary:
    return answers.JobSummary(
        id=one.id,
        study=one.arrival_id,
        kind=one.kind.value,
        state=one.state.value,
        target=one.target,
        attempts=one.attempts,
        created_at=one.created_at,
        updated_at=one.updated_at,
        code=one.code,
        reason=one.reason,
        advice=one.advice,
    )


def list_packages(request: Request) -> Response:
    """Return the installed packages with their evidence and the sizes measured here."""
    view = live_of(request).at(time.time())
    models = view.snapshot.models if view.snapshot is not None else ()
    return as_json(
        answers.PackageList(
            packages=tuple(
                answers.PackageSummary(
                    name=one.name,
                    title=one.package.manifest.title if one.package else "",
                    problem=one.problem.message if one.problem else "",
                    sizes=tuple(_size(size) for size in one.sizes),
                )
                for one in package_rows(config_of(request).model.dir, models)
            )
        )
    )


def _size(one: SizeRow) -> answers.SizeSummary:
    best = one.evidence[0] if one.evidence else None
    cost = one.cost if one.cost is not None and not one.cost.problem else None
    return answers.SizeSummary(
        name=one.name,
        parameters=one.parameters,
        mean_dice=best.dice.mean if best else None,
        data_set=best.data_set if best else "",
        engine=cost.engine if cost else "",
        seconds=cost.seconds if cost else None,
        memory_bytes=int(cost.peak_mb * MIB) if cost else None,
    )


STATES, KINDS = [one.value for one in State], [one.value for one in Kind]
