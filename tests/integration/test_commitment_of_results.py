"""Storage commitment of our results, at Orthanc and at targets that answer as a test says."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from node import queue, schema, sender
from node.commitment import FailureReason, ReceivedReports, Reference, Report, Request
from node.config import Target
from node.config.units import Seconds
from node.queue import Job
from node.states import Kind, State
from tests.support.committing import all_kept, committing_target, refused, report_anew
from tests.support.delivering import Post, at, make_post
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.peers import listening, soon
from tests.support.rows import event_names


def committing(port: int, ae: str = "PEER", within_s: float = 3600.0) -> Target:
    return at(port, ae, confirm="commitment", report_within=Seconds(within_s))


@contextmanager
def sending(post: Post) -> Iterator[None]:
    """Run the sender until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=sender.run, args=(post.config, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(240)
        assert not thread.is_alive()


def post_with_a_delivery(folder: Path, port: int, within_s: float = 3600.0) -> Post:
    """Return a sender's data folder with one delivery to a target that commits at `port`."""
    post = make_post(folder, pacs=committing(port, within_s=within_s))
    post.add("pacs")
    post.renew()
    return post


def job_of(post: Post) -> Job:
    (job,) = [job for job in queue.list_jobs(post.engine) if job.kind is Kind.DELIVER]
    return job


def ended(post: Post) -> bool:
    return job_of(post).finished_at is not None


def is_awaited(post: Post) -> bool:
    job = job_of(post)
    return job.report_due_at is not None and job.state is State.QUEUED


@needs_orthanc
@pytest.mark.orthanc
def test_orthanc_commits_on_a_new_association(tmp_path: Path) -> None:
    """Its report needs the roles of user and provider to be exchanged."""
    orthanc = Orthanc(tmp_path / "orthanc")
    with listening(
        tmp_path / "data", targets={"pacs": committing(orthanc.dicom_port, "ORTHANC")}
    ) as node:
        modality = {"AET": "SEGNODE", "Host": "127.0.0.1", "Port": node.port}
        known = {"node": modality | {"AllowStorageCommitment": True}}
        with started(orthanc, DicomModalities=known):
            post = make_post(tmp_path, pacs=committing(orthanc.dicom_port, "ORTHANC"))
            post.add("pacs")
            post.renew()
            with sending(post):
                assert soon(lambda: ended(post)), job_of(post)
    job = job_of(post)
    assert (job.state, job.deliver_result().confirmed_by) == (State.DONE, "commitment")
    names = event_names(post.engine, job.id)
    assert names.index("commitment-report") < names.index("finish")
    assert "await-report" in names
    assert ReceivedReports(post.config.data.dir).take() == []


def test_a_report_on_the_same_association_is_taken(tmp_path: Path) -> None:
    with committing_target() as target:
        post = post_with_a_delivery(tmp_path, target.port)
        with sending(post):
            assert soon(lambda: ended(post)), job_of(post)
    result = job_of(post).deliver_result()
    assert (result.confirmed_by, result.status) == ("commitment", "SUCCESS (0x0000)")
    assert len(target.stored) == len(target.requests) == 1


@pytest.mark.parametrize(
    ("reason", "state", "code"),
    [
        (FailureReason.NO_SUCH_OBJECT_INSTANCE, State.QUEUED, "not-confirmed"),
        (FailureReason.DUPLICATE_TRANSACTION_UID, State.QUEUED, "not-confirmed"),
        (FailureReason.RESOURCE_LIMITATION, State.QUEUED, "peer-busy"),
        (FailureReason.CLASS_NOT_SUPPORTED, State.FAILED, "refused-by-target"),
        (0x9999, State.FAILED, "refused-by-target"),
    ],
)
def test_a_failure_is_retried_or_fails_by_its_reason(
    tmp_path: Path, reason: int, state: State, code: str
) -> None:
    with committing_target(refused(reason)) as target:
        post = post_with_a_delivery(tmp_path, target.port)
        with sending(post):
            assert soon(lambda: job_of(post).code == code), job_of(post)
    job = job_of(post)
    assert (job.state, job.transaction_uid == "") == (state, state is State.QUEUED)
    assert f"0x{reason:04X}" in job.reason


def test_a_failed_commitment_is_requested_again_with_another_transaction(tmp_path: Path) -> None:
    answers = [all_kept, refused(FailureReason.NO_SUCH_OBJECT_INSTANCE)]

    def next_answer(request: Request) -> Report | None:
        return answers.pop()(request)

    with committing_target(next_answer) as target:
        post = post_with_a_delivery(tmp_path, target.port)
        with sending(post):
            assert soon(lambda: ended(post)), job_of(post)
    assert job_of(post).state is State.DONE
    first, second = target.requests
    assert first.references == second.references
    assert first.transaction != second.transaction


def test_a_restart_while_a_report_is_awaited_loses_nothing(tmp_path: Path) -> None:
    """The report comes while no sender runs, on a new association to the listener."""
    with committing_target(lambda _: None) as target:
        pacs = committing(target.port)
        post = make_post(tmp_path, pacs=pacs)
        post.add("pacs")
        post.renew()
        with sending(post):
            assert soon(lambda: is_awaited(post)), job_of(post)
        (request,) = target.requests
        with listening(tmp_path / "data", targets={"pacs": pacs}) as node:
            assert report_anew(node.port, all_kept(request)) == 0x0000
        assert job_of(post).state is State.QUEUED
        with sending(post):
            assert soon(lambda: ended(post)), job_of(post)
    assert job_of(post).deliver_result().confirmed_by == "commitment"
    assert len(target.stored) == 1


def test_a_sender_killed_after_the_request_still_takes_the_report(tmp_path: Path) -> None:
    """The lease of the dead worker runs out before the report comes."""
    with committing_target(lambda _: None) as target:
        post = post_with_a_delivery(tmp_path, target.port)
        job = job_of(post)
        claimed = queue.claim(post.engine, Kind.DELIVER, "dead", job.queued_at, 1.0, "pacs")
        assert claimed is not None
        sent = queue.DeliverResult(status="SUCCESS (0x0000)")
        queue.request_commitment(post.engine, claimed, "2.25.99", sent, 4e9)
        queue.expire_leases(post.engine, job.queued_at + 2, 3)
        with sending(post):
            assert soon(lambda: is_awaited(post)), job_of(post)
            payload = claimed.deliver_payload()
            committed = Reference(payload.sop_class_uid, payload.sop_instance_uid)
            ReceivedReports(post.config.data.dir).add(Report("2.25.99", (committed,), ()))
            assert soon(lambda: ended(post)), job_of(post)
    assert job_of(post).deliver_result().confirmed_by == "commitment"
    assert target.stored == []


@pytest.mark.parametrize(
    ("finds", "state", "confirmed_by"),
    [(True, State.DONE, "query"), (False, State.QUEUED, ""), (None, State.QUEUED, "")],
)
def test_an_overdue_report_is_replaced_by_a_query(
    tmp_path: Path, finds: bool | None, state: State, confirmed_by: str
) -> None:
    with committing_target(lambda _: None, finds=finds) as target:
        post = post_with_a_delivery(tmp_path, target.port, within_s=0.1)
        with sending(post):
            assert soon(lambda: ended(post) or job_of(post).code != ""), job_of(post)
    job = job_of(post)
    assert job.state is state
    if state is State.DONE:
        result = job.deliver_result()
        assert (result.confirmed_by, "no storage commitment report" in result.note) == (
            confirmed_by, True,
        )  # fmt: skip
    else:
        assert (job.code, job.transaction_uid) == ("not-confirmed", "")


@pytest.mark.parametrize(
    ("finds", "state", "code"),
    [(True, State.DONE, ""), (None, State.FAILED, "refused-by-target")],
)
def test_a_target_without_storage_commitment_is_queried(
    tmp_path: Path, finds: bool | None, state: State, code: str
) -> None:
    with committing_target(commits=False, finds=finds) as target:
        post = post_with_a_delivery(tmp_path, target.port)
        with sending(post):
            assert soon(lambda: ended(post)), job_of(post)
    assert (job_of(post).state, job_of(post).code) == (state, code)


@pytest.mark.parametrize(
    ("status", "state", "code"),
    [(0x0213, State.QUEUED, "peer-busy"), (0x0124, State.FAILED, "refused-by-target")],
)
def test_a_refused_request_is_retried_or_fails_by_its_status(
    tmp_path: Path, status: int, state: State, code: str
) -> None:
    with committing_target(status=status) as target:
        post = post_with_a_delivery(tmp_path, target.port)
        with sending(post):
            assert soon(lambda: job_of(post).code == code), job_of(post)
    assert job_of(post).state is state


def test_a_report_that_no_delivery_awaits_is_dropped(tmp_path: Path) -> None:
    with committing_target() as target:
        pacs = committing(target.port)
        post = make_post(tmp_path, pacs=pacs)
        with listening(tmp_path / "data", targets={"pacs": pacs}) as node:
            assert report_anew(node.port, Report("2.25.1", (), ())) == 0x0000
        reports = ReceivedReports(post.config.data.dir)
        assert len(reports.take()) == 1
        with sending(post):
            assert soon(lambda: reports.take() == [])


def test_a_resent_result_is_requested_again(tmp_path: Path) -> None:
    with committing_target() as target:
        post = post_with_a_delivery(tmp_path, target.port)
        with sending(post):
            assert soon(lambda: ended(post)), job_of(post)
            queue.resend(post.engine, job_of(post).id, job_of(post).updated_at)
            assert soon(lambda: len(target.requests) == 2 and ended(post))
    assert job_of(post).deliver_result().confirmed_by == "commitment"


def test_the_database_refuses_a_report_without_a_request(tmp_path: Path) -> None:
    post = make_post(tmp_path, pacs=committing(1))
    post.add("pacs")
    with pytest.raises(sa.exc.IntegrityError), post.engine.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(commitment_report="{}"))
