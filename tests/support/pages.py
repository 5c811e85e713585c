"""A node with a few weeks of rows for tests and pictures of the page; no process of it runs.

`python -m tests.support.pages FOLDER` writes the screenshots of docs/images.
"""

import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from node import queue, schema
from node.caveats import Caveat, CaveatCode
from node.conditions import LiveView
from node.config import Config, DataConfig, ModelConfig, PageConfig, Rule, Target, When
from node.config.units import Bytes
from node.errors import PeerUnreachable, RefusedByTarget
from node.identifiers import words
from node.inbox import Inbox
from node.queue import Policy, SegmentResult, StudyIndex
from node.states import ArrivalOutcome, Kind
from node.web import serve_page
from tests.support.orthanc import free_port
from tests.support.rows import SENT, a_delivery, a_segment_job, an_arrival
from tests.support.running import wait_until

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
TALLEST_PX = 1800  # of a screenshot
HOSTILE = '<script>alert("x")</script>'
POLICY = Policy(give_up_after_s=72 * 3600.0)
VOLUMES = {"Left hippocampus": 5.958, "Right hippocampus": 6.201, "Brain stem": 27.36}
CT = {"caller_ae": "CT01", "modality": "CT", "package": "", "size": "", "rule": ""}
SECONDS = {"read": 0.41, "segment": 6.2, "encode": 0.3, "write": 0.1, "verify": 0.4}


def page_config(folder: Path, **page: object) -> Config:
    """Return the configuration of the node; `page` replaces keys of that section."""
    return Config(
        data=DataConfig(dir=folder, index="plain", stop_accepting_below=Bytes(1)),
        model=ModelConfig(dir=ROOT / "models"),
        targets={
            "pacs": Target(ae="PACS", host="10.1.2.3"),
            "archive": Target(ae="ARCHIVE", host="10.1.2.4"),
        },
        rules=(
            Rule(name="whole-head", when=When(modality="MR"), use="brain-mr", send_to=("pacs",)),
            Rule(name="everything-else", use="none"),
        ),
        page=PageConfig(**({"port": free_port()} | page)),  # type: ignore[arg-type]
    )


def fill(config: Config, now: float, peer_text: str = HOSTILE) -> sa.Engine:
    """Record studies with every ending, a target that refuses, and one that does not answer.

    `peer_text` stands where peers write.
    """
    engine = schema.open_configured(config.data)
    for loop in ("segmenter", "sender", "housekeeping", "monitor"):
        queue.heartbeat(engine, loop, os.getpid(), now)
    for number in range(1, 7):
        index = _index(number, f"MR brain {peer_text}")
        _study(config, engine, number, now - 3600.0 * (7 - number), index)
    for at in (now - 900, now - 899):  # both results for a target that does not answer
        job = queue.claim(engine, Kind.DELIVER, "s", at, 60.0, "pacs")
        assert job is not None
        error = PeerUnreachable("PACS at 10.1.2.3:104: no answer", advice="Is it running?")
        queue.settle(engine, job, error, at, POLICY)
    _undecided(engine, now)
    caller = HOSTILE if peer_text == HOSTILE else "CT02"
    note = f"the caller {caller} is unknown: add it under callers"
    queue.add_note(engine, "rejected-association", note, now - 500)
    return engine


def _study(config: Config, engine: sa.Engine, number: int, at: float, index: StudyIndex) -> None:
    """Record one study that was segmented; the archive refuses the last two."""
    arrival = an_arrival(
        number, study_uid=f"1.2.826.0.1.{number}", caller_ae="MR01", package="brain-mr/1.3",
        instances=176, rule="whole-head", first_at=at - 60, last_at=at,
    )  # fmt: skip
    queue.record_arrival(engine, arrival, a_segment_job(number), at + 1, index=index)
    job = queue.claim(engine, Kind.SEGMENT, "w", at + 2, 60.0)
    assert job is not None
    outbox = f"outbox/{number}"
    folder = config.data.dir / outbox
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "docs/images/demo-colin27.png", folder / "preview.png")
    result = SegmentResult(
        objects=(f"{outbox}/seg-binary.dcm",), volumes_ml=VOLUMES, seconds=SECONDS,
        caveats=(
            Caveat(CaveatCode.CUT, "Cut by the field of view: Brain stem", ("Brain stem",)),
            Caveat(CaveatCode.DERIVED, "All source images are derived, not original"),
        ),
        engine="onnxruntime",
    )  # fmt: skip
    names = ("pacs", "archive")
    deliveries = [
        a_delivery(name, sop_instance_uid=f"1.2.9.{number}.{place}")
        for place, name in enumerate(names)
    ]
    queue.finish_segment(engine, job, result, deliveries, at + 10)
    refusal = RefusedByTarget(
        "ARCHIVE at 10.1.2.4:104 does not know our AE title SEGNODE",
        advice="Have it registered there.",
    )
    for name in names if number < 5 else ("archive",):
        job = queue.claim(engine, Kind.DELIVER, "s", at + 11, 60.0, name)
        assert job is not None
        if number < 5:
            queue.finish_delivery(engine, job, SENT, at + 12)
        else:
            queue.settle(engine, job, refusal, at + 12, POLICY)


def _index(number: int, description: str) -> StudyIndex:
    return StudyIndex(
        kept_as="plain", accession=f"A2026-{number:03}", patient_id=f"P{number:05}",
        study_date="2026-11-30", description=description, words=words(description),
    )  # fmt: skip


def _undecided(engine: sa.Engine, now: float) -> None:
    """Record a held series and one without a rule."""
    held = an_arrival(
        20, study_uid="1.2.826.0.1.20", outcome=ArrivalOutcome.HELD, **CT,
        code="conflicting-instances", reason="2 of 120 images came with two contents",
        advice="Ask the sender which are right.", last_at=now - 900,
    )  # fmt: skip
    queue.record_arrival(engine, held, None, now - 800, index=_index(20, "CT abdomen"))
    unmatched = an_arrival(
        21, study_uid="1.2.826.0.1.21", outcome=ArrivalOutcome.NO_RULE, **CT,
        code="no-rule", reason="no rule matches: modality CT", last_at=now - 700,
    )  # fmt: skip
    queue.record_arrival(engine, unmatched, None, now - 600, index=_index(21, "CT chest"))


@contextmanager
def served(config: Config) -> Iterator[str]:
    """Serve the page of a node; give its address."""
    inbox = Inbox(config.data.dir / "inbox")
    inbox.recover(time.time())
    stop = threading.Event()
    thread = threading.Thread(target=serve_page, args=(config, LiveView(config), stop))
    thread.start()
    try:
        wait_until(lambda: _answers(config.page.port), describe=lambda: "the page does not answer")
        yield f"http://127.0.0.1:{config.page.port}"
    finally:
        stop.set()
        thread.join()
        inbox.release()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium without a window."""
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Browser, width: int, *, javascript: bool = True) -> Page:
    """Return a new tab of a width in CSS pixels."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=javascript
    )
    return context.new_page()


def main(out: Path) -> None:
    """Write the screenshots of the documentation."""
    with tempfile.TemporaryDirectory() as folder:
        config = page_config(Path(folder))
        fill(config, time.time(), "without contrast")
        with served(config) as url, chromium() as browser:
            desk, phone = open_page(browser, 1000), open_page(browser, 390)
            for name, tab, path in (
                ("page-overview", desk, "/"),
                ("page-study", desk, "/studies/2"),
                ("page-target", desk, "/targets/archive"),
                ("page-phone", phone, "/"),
            ):
                tab.goto(url + path)
                _picture(tab, out / f"{name}.png")
            _search(desk, url, "A2026-004")
            _picture(desk, out / "page-search.png")
            _search(desk, url, "1.2.826.0.1.99")
            _picture(desk, out / "page-unknown.png")


def _search(tab: Page, url: str, text: str) -> None:
    tab.goto(f"{url}/search")
    tab.fill("[name=text]", text)
    tab.click("button")


def _picture(tab: Page, file: Path) -> None:
    """Write a screenshot with a palette: a page has few colours, and a clone stays small."""
    whole = tab.evaluate("document.body.scrollHeight")
    size = tab.viewport_size
    assert size is not None
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(whole, TALLEST_PX)}
    tab.screenshot(path=file, full_page=True, clip=clip)  # type: ignore[arg-type]
    with Image.open(file) as image:
        image.convert("RGB").quantize(128).save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
