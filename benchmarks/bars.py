"""Plot the seconds by stage from a table that `pipeline.py` wrote.

    python benchmarks/bars.py                  # every such table of docs/reference/performance.md

It reads the table only, so a plot can change without another measurement.
"""

import re
from pathlib import Path

import page
from matplotlib import rcParams
from matplotlib.figure import Figure

PARTS = {  # of a bar -> stages
    "read": ("package", "read"),
    "network": ("network",),
    "to the model's grid and back": ("intensity", "resample", "back", "regions"),
    "SEG": ("encode", "write"),
    "verification": ("verify",),
}
COLOURS = ("#8a8a8a", "#c44e52", "#4c72b0", "#dd8452", "#55a868")
NNUNET = "nnU-Net"


def main() -> None:
    """Plot each table of stages on the page, and link the plot."""
    text = page.PAGE.read_text(encoding="utf-8")
    for name, table in re.findall(r"<!-- (.+?): begin -->\n(.*?)<!--", text, re.DOTALL):
        if "by stage, seconds" in table:
            plain = re.sub(r"\n+!\[.*?\]\(.*?\)", "", table).rstrip()
            page.write(name, f"{plain}\n\n{chart(name, plain)}")


def chart(name: str, table: str) -> str:
    """Plot the rows with the most threads; return the link for the line under the table."""
    cells = [[c.strip() for c in line.strip("| ").split(" | ")] for line in table.splitlines()
             if line.startswith("| ")]  # fmt: skip
    rows = [dict(zip(cells[0], row, strict=False)) for row in cells[2:]]
    most = max(int(row["threads"]) for row in rows)
    mine = [row for row in rows if int(row["threads"]) == most]
    nnunet = [f"{r['what']} {r['seconds']} s" for r in mine if r["what"].startswith(NNUNET)]
    title = f"{name}: seconds from DICOM to a verified SEG, {most} threads"
    path = page.PLOTS / f"pipeline-{re.sub('[^a-z0-9]+', '-', name)}.svg"
    ours = [r for r in mine if not r["what"].startswith(NNUNET)]
    _plot(ours, title, "; ".join(nnunet), path)
    return f"![seconds by stage](plots/{path.name})"


def _plot(rows: list[dict[str, str]], title: str, subtitle: str, path: Path) -> None:
    rcParams.update({"svg.hashsalt": "segnode", "svg.fonttype": "none"})
    figure = Figure(figsize=(9, 1.4 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    labels = [row["what"] for row in rows][::-1]
    stages = [_stages(row["by stage, seconds"]) for row in rows][::-1]
    left = [0.0] * len(rows)
    for (part, names), colour in zip(PARTS.items(), COLOURS, strict=True):
        widths = [sum(one.get(name, 0.0) for name in names) for one in stages]
        axes.barh(labels, widths, left=left, color=colour, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for at, total in enumerate(left):
        axes.annotate(f"{total:.2f}", (total, at), xytext=(4, -3), textcoords="offset points")
    axes.set_title(title + (f"\n{subtitle}" if subtitle else ""), fontsize=10)
    axes.set_xlabel("seconds")
    axes.margins(x=0.08)
    figure.legend(fontsize=8, loc="outside lower center", ncols=len(PARTS))
    figure.savefig(path, metadata={"Date": None})


def _stages(cell: str) -> dict[str, float]:
    """Return seconds by stage from a cell like `start 1.75, read 0.12`; the start is left out."""
    pairs = (one.rsplit(" ", 1) for one in cell.split(", "))
    return {name: float(seconds) for name, seconds in pairs if name != "start"}


if __name__ == "__main__":
    main()
