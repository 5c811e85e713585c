"""The files of storage commitment: limited in number, and not lost when a process is killed."""

from pathlib import Path

from node.commitment import (
    MOST_PENDING,
    CallerRequest,
    CallerRequests,
    ReceivedReports,
    Reference,
    Report,
    Request,
)
from node.commitment.received import MOST_WAITING

ONE = Reference("1.2.3", "1.2.3.4")
T0 = 1_000_000.0


def caller_request(number: int, ae: str = "CT01", received: float = T0) -> CallerRequest:
    request = Request(f"2.25.{number}", (ONE,))
    return CallerRequest(request=request, calling_ae=ae, host="10.1.2.3", received=received)


def test_a_report_is_taken_until_it_is_dropped(tmp_path: Path) -> None:
    report = Report("2.25.1", (ONE,), ())
    assert ReceivedReports(tmp_path).add(report)
    folder = ReceivedReports(tmp_path)
    assert folder.take() == folder.take() == [report]
    folder.drop(report)
    assert folder.take() == []


def test_waiting_reports_are_limited(tmp_path: Path) -> None:
    folder = ReceivedReports(tmp_path)
    path = tmp_path / "commitment" / "reports"
    for number in range(MOST_WAITING):
        (path / f"{number}.json").write_bytes(b"{}")
    assert not folder.add(Report("2.25.1", (ONE,), ()))
    assert not folder.add(Report("2.25.1", (ONE,) * 10_000, ()))
    assert folder.take() == [], "files of another version are removed"
    assert folder.add(Report("2.25.1", (ONE,), ()))


def test_a_request_is_due_when_its_association_ends(tmp_path: Path) -> None:
    folder = CallerRequests(tmp_path)
    later, first = caller_request(1, received=T0 + 1), caller_request(2)
    assert folder.add(later)
    assert folder.add(first)
    assert folder.due() == []
    folder.make_due(later)
    assert folder.due() == [later]
    CallerRequests(tmp_path).make_all_due()  # by the next listener
    assert folder.due() == [first, later]
    folder.drop(first)
    assert folder.due() == [later]


def test_a_dropped_request_does_not_become_due(tmp_path: Path) -> None:
    folder = CallerRequests(tmp_path)
    folder.add(caller_request(1))
    folder.drop(caller_request(1))
    folder.make_due(caller_request(1))
    assert folder.due() == []


def test_pending_requests_of_a_caller_are_limited(tmp_path: Path) -> None:
    folder = CallerRequests(tmp_path)
    assert all(folder.add(caller_request(number)) for number in range(MOST_PENDING))
    assert not folder.add(caller_request(MOST_PENDING))
    assert folder.add(caller_request(0)), "the same request again"
    assert folder.add(caller_request(0, ae="CT02"))
    folder.make_all_due()
    assert not folder.add(caller_request(MOST_PENDING))
