"""The accuracy of one network on one case: the raw material of every report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kd.evaluation.measure import Agreement
from kd.records import MeasureName
from node.package.manifest import Manifest


@dataclass(frozen=True)
class Score:
    """One case, one network."""

    case: str
    structures: tuple[Agreement | None, ...]  # in the manifest's order; None: not labelled here
    seconds: float  # from volume to labels
    subject: str = ""  # empty: no other case shows the same subject

    @property
    def subject_key(self) -> str:
        """Return a key that cases of one subject share."""
        return self.subject or self.case

    def mean(self, name: MeasureName) -> float:
        """Return the mean of one measure over the structures that are labelled."""
        return float(np.mean([one.of(name) for one in self.structures if one is not None]))


def subjects_of(scores: Sequence[Score]) -> list[str]:
    """Return the subject of each score."""
    return [score.subject_key for score in scores]


def with_pseudonyms(by_run: Mapping[str, Sequence[Score]]) -> dict[str, list[Score]]:
    """Return the scores with numbered names in place of those of cases and subjects.

    A case has the same number in every run; numbers follow the order of the first run.
    """
    cases: dict[str, str] = {}
    subjects: dict[str, str] = {}
    for score in (score for scores in by_run.values() for score in scores):
        cases.setdefault(score.case, f"case-{len(cases) + 1:03d}")
        subjects.setdefault(score.subject_key, f"subject-{len(subjects) + 1:03d}")
    return {
        run: [replace(s, case=cases[s.case], subject=subjects[s.subject_key]) for s in scores]
        for run, scores in by_run.items()
    }


def rows(manifest: Manifest, by_run: Iterable[tuple[str, Sequence[Score]]]) -> list[str]:
    """Return the lines of a CSV: one per run (a size is one), case and structure."""
    lines = ["run,case,subject,structure,dice,nsd,hd95_mm,found_ml,true_ml,seconds"]
    for run, scores in by_run:
        for score in scores:
            for part, one in zip(manifest.segments, score.structures, strict=True):
                if one is None:
                    continue
                numbers = (one.dice, one.nsd, one.hd95_mm, one.found_ml, one.true_ml)
                cells = [f"{number:.5f}" for number in numbers]
                head = [run, score.case, score.subject_key, part.label]
                lines.append(",".join([*head, *cells, f"{score.seconds:.3f}"]))
    return lines
