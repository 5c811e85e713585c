"""One page about the trainings in a folder: a table, curves, and a summary of cross-validation.

Reads the logs of the runs (`kd.training.log`) and the scores that `kd score` kept beside them.
Everything is in one HTML file, without scripts.
"""

import base64
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import msgspec

from kd.evaluation.score import FoldScore, read_scores
from kd.records import Run
from kd.training.checkpoints import CHECKPOINT, read_record
from kd.training.log import Entry, best_dice, last_dice, read_log
from kd.training.preview import BATCH, PREDICTIONS

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 520, 250, 72, 28, 14  # pixels of a picture and its margins
COLOURS = ("#1f77b4", "#d95f02", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#17becf")
TICKS = 5

Read = Callable[[Entry], float | None]
CURVES: tuple[tuple[str, Read], ...] = (
    ("Loss, mean since the last entry", lambda entry: entry.loss),
    ("Term of the labels", lambda entry: entry.labels),
    ("Divergence from the teacher", lambda entry: entry.kl),
    ("Weight of the teacher", lambda entry: entry.teacher_weight),
    ("Dice on held-out patches", lambda entry: entry.held_out_dice),
    ("Learning rate", lambda entry: entry.rate),
    ("Norm of the gradient", lambda entry: entry.gradient_norm),
)
PICTURES = {
    BATCH: "the first batch: image, labels and, for a student, the probability of its teacher",
    PREDICTIONS: "held-out patches: image, labels, detected",
}
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1b1b; background: #fff }
table { border-collapse: collapse } th, td { text-align: left; padding: .2rem .8rem .2rem 0 }
td.number { text-align: right; font-variant-numeric: tabular-nums }
figure { display: inline-block; vertical-align: top; margin: 1rem 1rem 0 0 }
svg { background: #fff }
@media (prefers-color-scheme: dark) { body { color: #e8e8e8; background: #16181b } }
"""


@dataclass(frozen=True)
class TrainedRun:
    """One run: its folder, its record, its log and its scores on folds."""

    folder: Path
    record: Run
    log: list[Entry]
    scores: Mapping[int, FoldScore]

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.name


def trained_runs(folder: Path) -> list[TrainedRun]:
    """Return every run below `folder` that was trained here, by name.

    Raises:
        KdError: a checkpoint is damaged.
    """
    runs = []
    for path in sorted(folder.glob(f"*/{CHECKPOINT}")):
        record = read_record(path.parent)
        if record.choices is not None:  # an imported network has no training to show
            log, scores = read_log(path.parent), read_scores(path.parent)
            runs.append(TrainedRun(path.parent, record, log, scores))
    return runs


def page(name: str, runs: Sequence[TrainedRun]) -> str:
    """Return the page in HTML."""
    colours = {run.name: COLOURS[i % len(COLOURS)] for i, run in enumerate(runs)}
    parts = [
        f"<h1>Trainings in {escape(name)}</h1>",
        _table(runs, colours),
        *_cross_validation(runs),
        "<h2>Curves</h2>",
        "<p>Horizontal: share of the budget.</p>",
    ]
    for title, read in CURVES:
        lines = {run.name: _points(run.log, read) for run in runs}
        if any(len(points) > 1 for points in lines.values()):
            parts.append(_figure(title, lines, colours))
    parts += _pictures(runs)
    start = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}'
    body = "\n".join(parts)
    return f"{start}</title><style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"


def _pictures(runs: Sequence[TrainedRun]) -> list[str]:
    """Return the pictures of all runs, inside the page."""
    figures = []
    for run in runs:
        for name, title in PICTURES.items():
            path = run.folder / name
            if path.is_file():
                content = base64.b64encode(path.read_bytes()).decode()
                image = f'<img src="data:image/png;base64,{content}" alt="{title}">'
                caption = f"<figcaption>{escape(run.name)}: {title}</figcaption>"
                figures.append(f"<figure>{caption}{image}</figure>")
    if not figures:
        return []
    note = "Pictures of real images show patients: keep this page where patient data is kept."
    return ["<h2>Pictures</h2>", f"<p>{note}</p>", *figures]


def summary(runs: Sequence[TrainedRun]) -> dict[str, object]:
    """Return the numbers of the page."""
    return {
        run.name: {
            "step": run.record.step,
            "finished": run.record.is_finished,
            "seconds": run.record.seconds,
            "loss": run.log[-1].loss if run.log else None,
            "held_out_dice": last_dice(run.log),
            "scores": {str(fold): score.dice.mean for fold, score in run.scores.items()},
        }
        for run in runs
    }


def _table(runs: Sequence[TrainedRun], colours: Mapping[str, str]) -> str:
    head = (
        "run",
        "learns from",
        "cases",
        "steps",
        "hours",
        "state",
        "loss",
        "held-out Dice",
        "best",
    )
    rows = []
    for run in runs:
        record, dice, best = run.record, last_dice(run.log), best_dice(run.log)
        cells = [
            f'<td><span style="color:{colours[run.name]}">&#9632;</span> {escape(run.name)}</td>',
            f"<td>{'labels' if record.distillation is None else 'labels and teacher'}</td>",
            *_numbers(str(len(record.cases)), str(record.step), f"{record.seconds / 3600:.2f}"),
            f"<td>{'finished' if record.is_finished else 'not finished'}</td>",
            *_numbers(
                f"{run.log[-1].loss:.4f}" if run.log else "",
                "" if dice is None else f"{dice:.3f}",
                "" if best is None else f"{best.held_out_dice or 0:.3f} at step {best.step}",
            ),
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    titles = "".join(f"<th>{title}</th>" for title in head)
    return f"<table><tr>{titles}</tr>\n" + "\n".join(rows) + "\n</table>"


def _numbers(*texts: str) -> list[str]:
    return [f'<td class="number">{text}</td>' for text in texts]


def _cross_validation(runs: Sequence[TrainedRun]) -> list[str]:
    """Return the scores of whole held-out cases, by run and fold, with their mean."""
    scored = [(run.name, fold, one) for run in runs for fold, one in run.scores.items()]
    if not scored:
        return ["<h2>Cross-validation</h2>", "<p>No run was scored on a fold yet: kd score.</p>"]
    rows = []
    for name, fold, one in scored:
        parts = ", ".join(f"{label} {dice:.3f}" for label, dice in one.per_structure.items())
        cells = _numbers(str(fold), str(one.cases), f"{one.dice.mean:.4f}")
        rows.append(f"<tr><td>{escape(name)}</td>{''.join(cells)}<td>{escape(parts)}</td></tr>")
    means = [one.dice.mean for _, _, one in scored]
    spread = f", standard deviation {statistics.stdev(means):.4f}" if len(means) > 1 else ""
    titles = "<th>run</th><th>fold</th><th>cases</th><th>mean Dice</th><th>structures</th>"
    return [
        "<h2>Cross-validation</h2>",
        f"<p>Mean over {len(means)} scores: {statistics.mean(means):.4f}{spread}.</p>",
        f"<table><tr>{titles}</tr>\n" + "\n".join(rows) + "\n</table>",
    ]


def _points(log: Sequence[Entry], read: Read) -> list[tuple[float, float]]:
    pairs = ((entry.share, read(entry)) for entry in log)
    return [(share, value) for share, value in pairs if value is not None]


def _figure(
    title: str, lines: Mapping[str, list[tuple[float, float]]], colours: Mapping[str, str]
) -> str:
    """Return one picture with a line for each run."""
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    span = high - low or 1.0

    def place(share: float, value: float) -> str:
        x = LEFT + share * (WIDTH - LEFT - 8)
        y = TOP + (HEIGHT - BOTTOM - TOP - 6) * (1 - (value - low) / span)
        return f"{x:.1f},{y:.1f}"

    parts = []
    for i in range(TICKS):
        value = low + span * i / (TICKS - 1)
        x, y = place(0, value).split(",")
        parts.append(f'<text x="{LEFT - 6}" y="{y}" text-anchor="end">{value:.3g}</text>')
        parts.append(f'<line x1="{x}" x2="{WIDTH - 8}" y1="{y}" y2="{y}" stroke="#ddd"/>')
    for name, points in lines.items():
        path = " ".join(place(share, value) for share, value in points)
        line = f'<polyline points="{path}" fill="none" stroke="{colours[name]}"'
        parts.append(f"{line}><title>{escape(name)}</title></polyline>")
    for share in (0.0, 0.5, 1.0):
        x = place(share, low).split(",")[0]
        anchor = "end" if share == 1 else "middle"  # the last one would be cut off
        label = f"{100 * share:g} %"
        parts.append(f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="{anchor}">{label}</text>')
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="11">{"".join(parts)}</svg>'
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def write_report(folder: Path, out: Path) -> list[TrainedRun]:
    """Write the page and its numbers (the same name with .json); return the runs.

    Without a run, nothing is written.

    Raises:
        KdError: a checkpoint is damaged.
    """
    runs = trained_runs(folder)
    if not runs:
        return runs
    out.write_text(page(folder.resolve().name, runs), encoding="utf-8")
    content = msgspec.json.format(msgspec.json.encode(summary(runs)))
    out.with_suffix(".json").write_bytes(content + b"\n")
    return runs
