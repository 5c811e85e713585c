"""Targets that stall or send too much end their own delivery, and work again afterwards."""

import resource
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node import queue, sender, upper_layer
from node.config import Config
from node.errors import NodeError, NoResponse, PeerUnreachable
from node.queue import DeliverResult
from node.sender import loop, query
from node.sender.peer import Peer
from node.sender.store import deliver
from node.states import State
from tests.support.delivering import HASTY, PATIENT, an_object, at, make_post, states
from tests.support.peers import soon
from tests.support.running import WAIT_S
from tests.support.stalling import (
    HEAD,
    Behaviour,
    Connection,
    a_huge_pdu,
    a_long_command,
    a_long_match,
    byte_by_byte,
    empty_fragments,
    many_matches,
    many_requests,
    many_responses,
    part_of_a_body,
    part_of_a_head,
    stalling_target,
)
from tests.support.targets import scripted_target

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("behave", [part_of_a_head, part_of_a_body, a_huge_pdu, byte_by_byte])
def test_a_target_that_stalls_within_a_pdu_ends_its_delivery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behave: Behaviour
) -> None:
    monkeypatch.setattr(upper_layer, "PDU_SECONDS", 0.5)
    payload = an_object(tmp_path, "pacs")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with stalling_target(behave) as port:
        peer = Peer("pacs", at(port, confirm="none"), "SEGNODE", PATIENT)
        with pytest.raises(NoResponse, match="violated the protocol"):
            deliver(peer, payload, tmp_path / payload.file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (a_long_command, "more than 64 KiB"),
        (empty_fragments, "presentation data values"),
        (many_requests, "requests"),
    ],
)
def test_a_target_that_sends_without_end_costs_little(
    tmp_path: Path, behave: Behaviour, words: str
) -> None:
    payload = an_object(tmp_path, "pacs")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with stalling_target(behave) as port:
        peer = Peer("pacs", at(port), "SEGNODE", PATIENT)
        with pytest.raises(NoResponse, match=words):
            deliver(peer, payload, tmp_path / payload.file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB


def test_a_target_that_answers_without_end_costs_little(tmp_path: Path) -> None:
    payload = an_object(tmp_path, "pacs")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with stalling_target(many_responses) as port:
        peer = Peer("pacs", at(port, confirm="none"), "SEGNODE", replace(PATIENT, associate_s=10.0))
        assert deliver(peer, payload, tmp_path / payload.file).confirmed_by == ""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB


@pytest.mark.parametrize("behave", [a_long_match, many_matches])
def test_a_query_without_end_confirms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behave: Behaviour
) -> None:
    monkeypatch.setattr(query, "MOST_MATCHES", 100)
    payload = an_object(tmp_path, "pacs")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with stalling_target(behave) as port:
        # the second query finds a target that sends no C-FIND response at all
        peer = Peer("pacs", at(port), "SEGNODE", replace(PATIENT, answer_s=5.0, associate_s=10.0))
        assert deliver(peer, payload, tmp_path / payload.file).confirmed_by == ""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB


def test_a_long_answer_to_a_request_is_not_decoded(tmp_path: Path) -> None:
    def long(connection: Connection) -> None:
        connection.sendall(HEAD.pack(2, 0, 200_000) + bytes(200_000))

    payload = an_object(tmp_path, "pacs")
    with stalling_target(long, begin=long) as port:
        peer = Peer("pacs", at(port), "SEGNODE", PATIENT)
        with pytest.raises(PeerUnreachable, match="violated the protocol"):
            deliver(peer, payload, tmp_path / payload.file)


def test_a_target_that_stalls_before_it_accepts_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upper_layer, "PDU_SECONDS", 0.5)
    payload = an_object(tmp_path, "pacs")
    with stalling_target(part_of_a_head, begin=part_of_a_head) as port:
        peer = Peer("pacs", at(port), "SEGNODE", HASTY)
        with pytest.raises(PeerUnreachable):
            deliver(peer, payload, tmp_path / payload.file)


def running(config: Config) -> tuple[threading.Thread, threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=sender.run, args=(config, stop))
    thread.start()
    return thread, stop


def test_a_delivery_that_takes_too_long_is_ended_and_the_target_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LONGEST_S", 1.0)
    monkeypatch.setattr(loop, "SLOWEST_BYTES_PER_S", 1e9)
    with stalling_target(byte_by_byte) as port:
        post = make_post(tmp_path, pacs=at(port, confirm="none"))
        post.add("pacs")
        post.renew()
        thread, stop = running(post.config)
        try:
            assert soon(lambda: states(post)["pacs"] == (State.QUEUED, "no-response"))
        finally:
            stop.set()
            thread.join(WAIT_S)
    assert not thread.is_alive()


def test_a_thread_that_does_not_return_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LONGEST_S", 0.3)
    monkeypatch.setattr(loop, "GRACE_S", 0.3)
    never, calls = threading.Event(), []

    def stuck_once(*arguments: Any) -> DeliverResult:
        calls.append(arguments)
        if len(calls) == 1:
            never.wait()
            raise NodeError("the first one was stuck")
        return deliver(*arguments)

    monkeypatch.setattr(loop, "deliver", stuck_once)
    with scripted_target() as target:
        post = make_post(tmp_path, pacs=at(target.port))
        post.add("pacs")
        thread, stop = running(post.config)
        try:
            assert soon(lambda: len(calls) == 1)
            # the supervisor has started a second thread beside the stuck one
            assert soon(lambda: [one.name for one in threading.enumerate()].count("to-pacs") == 2)
            monkeypatch.setattr(loop, "LONGEST_S", WAIT_S)  # the second one gets its time
            queue.expire_leases(post.engine, time.time() + 3600, 3)
            post.make_due()
            assert soon(lambda: states(post)["pacs"] == (State.DONE, ""))
        finally:
            never.set()
            stop.set()
            thread.join(WAIT_S)
    assert not thread.is_alive()
