"""Numbers and descriptions by which a reader distinguishes results: of the source and the task."""

from node.package import Package, Segment
from node.series import Header

LONGEST_TEXT = 64  # of a Long String, PS3.5 section 6.2
LONGEST_CODE = 16  # of a Code String: no lower case, no hyphen
BEGIN = "AI SEG "
REPORT_SUFFIX = 4  # characters by which the description of the report is longer: AI volumes
WARNING = " - not for diagnosis"
FIRST_NUMBER = 90_000  # above the series numbers that scanners use
HIGHEST_SOURCE = 9_999  # series numbers above this are not distinguished
NUMBERS = 10  # series numbers per source series: the SEG, its report, and those of other encodings


def series_number(source: Header, encoding_kind: str) -> int:
    """Return the series number of a SEG; the next one is that of its report."""
    number = source.series_number or 0
    known = number if 0 < number <= HIGHEST_SOURCE else 0
    return FIRST_NUMBER + NUMBERS * known + (3 if encoding_kind == "labelmap" else 1)


def series_description(package: Package, size: str, source: Header) -> str:
    """Return the series description: what made the series, and from which source series."""
    manifest = package.manifest
    tail = f" {manifest.version} {size}"
    longest = LONGEST_TEXT - REPORT_SUFFIX - len(WARNING)
    model = f"{BEGIN}{manifest.task[: longest - len(BEGIN) - len(tail)]}{tail}"
    number = "" if source.series_number is None else f" {source.series_number}"
    of = f" of{number} {_plain(source.series_description)}".rstrip() if number else ""
    return model + of[: longest - len(model)].rstrip() + WARNING


def content_label(package: Package, source: Header) -> str:
    """Return the task and the number of the source series, as a Code String."""
    number = source.series_number
    tail = f" {number}" if number is not None and 0 <= number <= HIGHEST_SOURCE else ""
    task = package.manifest.task.upper().replace("-", "_")
    return task[: LONGEST_CODE - len(tail)] + tail


def segment_description(segment: Segment, package: Package, size: str) -> str:
    """Return what a segment is, what made it, and how accurate that was."""
    by_size = package.manifest.metrics
    metrics = next((one for name, one in by_size.items() if name == size), None)
    accuracy = ""
    if metrics is not None and segment.label in metrics.dice_per_segment:
        dice = metrics.dice_per_segment[segment.label]
        accuracy = f"; Dice {dice.words('.2f')} on {metrics.cases} held-out cases"
    return f"{segment.label}, segmented by {package.name}, size {size}{accuracy}"


def _plain(text: str) -> str:
    """Keep characters that every character set has, and that are no separator."""
    plain = "".join(char for char in text if " " <= char <= "~" and char != "\\")
    return " ".join(plain.split())
