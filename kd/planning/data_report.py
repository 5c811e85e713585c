"""The report of a data set, before anything trains: JSON for programs, HTML for people."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from kd.planning.findings import Finding, labels_of
from kd.planning.survey import BadFacts, CaseFacts, Survey

DATA_REPORT_FORMAT: Literal[1] = 1
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1b1b; background: #fff }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.error { color: #a40000 } .warning { color: #7a5200 }
@media (prefers-color-scheme: dark) {
  body { color: #e8e8e8; background: #16181b } th, td { border-color: #3a3f45 }
  .error { color: #ff8a80 } .warning { color: #ffcf70 } }
"""


class LabelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One label over all usable cases."""

    number: int
    name: str
    cases: int  # that have it
    least_ml: float
    median_ml: float
    largest_ml: float


class DataReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `kd plan` measures of a data set."""

    format: Literal[1] = DATA_REPORT_FORMAT
    data: str  # name of the folder
    findings: tuple[Finding, ...]
    labels: tuple[LabelFacts, ...]
    cases: tuple[CaseFacts, ...]
    bad: tuple[BadFacts, ...]


def report_of(
    data: str, survey: Survey, findings: Sequence[Finding], names: Mapping[int, str]
) -> DataReport:
    """Put the facts of a data set together."""
    labels = []
    for number in labels_of(survey.cases):
        volumes = [c.volumes_ml[number] for c in survey.cases if number in c.volumes_ml]
        labels.append(
            LabelFacts(
                number=number,
                name=names.get(number, f"Structure {number}"),
                cases=len(volumes),
                least_ml=min(volumes),
                median_ml=float(np.median(volumes)),
                largest_ml=max(volumes),
            )
        )
    return DataReport(
        data=data,
        findings=tuple(findings),
        labels=tuple(labels),
        cases=survey.cases,
        bad=survey.bad,
    )


def write_data_report(report: DataReport, recipe: Path) -> Path:
    """Write the report beside the recipe, as RECIPE.data.json and RECIPE.data.html.

    Returns:
        The path of the HTML page.
    """
    page = recipe.with_suffix(".data.html")
    content = msgspec.json.format(msgspec.json.encode(report))
    recipe.with_suffix(".data.json").write_bytes(content + b"\n")
    page.write_text(html(report), encoding="utf-8")
    return page


def html(report: DataReport) -> str:
    """Return the report as one page without scripts and without links to other files."""
    cases = len(report.cases) + len(report.bad)
    observations = [
        f'<li class="{one.kind}">{one.kind}: {escape(one.sentence)}</li>' for one in report.findings
    ]
    labels = [
        [str(a.number), a.name, str(a.cases), *_volumes(a.least_ml, a.median_ml, a.largest_ml)]
        for a in report.labels
    ]
    rows = [_case_row(case, report.labels) for case in report.cases]
    rows += [[bad.name, bad.split, bad.problem] for bad in report.bad]
    head = ["case", "split", "spacing mm", "voxels", "intensities", "median"]
    head += [f"{label.name} ml" for label in report.labels]
    parts = [
        f"<h1>Data of {escape(report.data)}</h1>",
        f"<p>{cases} cases, {len(report.bad)} of them cannot be used. Axes are z, y, x: towards "
        "head, back and left. Intensities: percentiles 0.5 and 99.5 of the whole image.</p>",
        "<h2>Findings</h2>",
        f"<ul>{''.join(observations)}</ul>" if observations else "<p>None.</p>",
        "<h2>Labels</h2>",
        _table(["number", "label", "cases", "least ml", "median ml", "largest ml"], labels),
        "<h2>Cases</h2>",
        _table(head, rows),
    ]
    title = f"<title>Data of {escape(report.data)}</title>"
    start = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{title}'
    return f"{start}<style>{STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"


def _case_row(case: CaseFacts, labels: Sequence[LabelFacts]) -> list[str]:
    values = case.intensities
    volumes = [case.volumes_ml.get(label.number) for label in labels]
    return [
        case.name,
        case.split,
        " × ".join(f"{s:.3g}" for s in case.spacing_mm_zyx),
        " × ".join(map(str, case.shape_zyx)),
        f"{values.low:.4g} to {values.high:.4g}",
        f"{values.median:.4g}",
        *("" if volume is None else f"{volume:.3g}" for volume in volumes),
    ]


def _volumes(*values: float) -> list[str]:
    return [f"{value:.3g}" for value in values]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = ("".join(_cell(cell) for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>\n{body}</tbody></table>"


def _cell(text: str) -> str:
    is_number = text.replace(".", "", 1).lstrip("-").isdecimal()
    return f"<td{' class=' + chr(34) + 'number' + chr(34) if is_number else ''}>{escape(text)}</td>"
