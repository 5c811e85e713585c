"""Find series of one study that belong to different patients.

A study has one patient (PS3.3 A.1.2). Two patients in it mean that images were filed or scanned
under the wrong name, and it is unknown which series is right.
"""

from collections.abc import Sequence

from node.errors import ConflictingPatients, ReaderKilled
from node.inbox import Inbox, SeriesFolder, read_series
from node.reader import Reader, ReaderDeaths
from node.series.patients import Patient, differ


class StudyPatients:
    """Compares patients between the series of a study, and remembers what folders hold."""

    def __init__(self, inbox: Inbox, reader: Reader, deaths: ReaderDeaths) -> None:
        """Start empty: after a restart, records and one header per series are read once more."""
        self._inbox = inbox
        self._reader = reader
        self._deaths = deaths
        self._studies: dict[str, str] = {}  # series key -> Study Instance UID
        # by series key, with mtime_ns
        self._patients: dict[str, tuple[int, Sequence[Patient]]] = {}

    def other_patients(
        self, folder: SeriesFolder, patients: Sequence[Patient]
    ) -> list[SeriesFolder]:
        """Return the series of the study of `folder` that belong to another patient."""
        study = self._study(folder)
        others = []
        for other in self._inbox.series_folders():
            if other.key == folder.key or self._study(other) != study:
                continue
            if any(differ(one, two) for one in self._patients_of(other) for two in patients):
                others.append(other)
        return others

    def _study(self, folder: SeriesFolder) -> str:
        if folder.key not in self._studies:
            record = read_series(folder.path)
            if record is None:
                return ""
            self._studies[folder.key] = record.study
        return self._studies[folder.key]

    def _patients_of(self, folder: SeriesFolder) -> Sequence[Patient]:
        known = self._patients.get(folder.key)
        if known is None or known[0] != folder.mtime_ns:
            known = (folder.mtime_ns, self._read_patients(folder))
            self._patients[folder.key] = known
        return known[1]

    def _read_patients(self, folder: SeriesFolder) -> Sequence[Patient]:
        """Return the patient of the first image; those of all images if it has no Patient ID."""
        names = [file.path.name for file in self._inbox.instances(folder)]
        first = self._read(folder, names[:1])
        has_number = any(number for number, _, _ in first)
        return first if has_number or len(names) < 2 else self._read(folder, names)

    def _read(self, folder: SeriesFolder, names: Sequence[str]) -> Sequence[Patient]:
        if not names or self._deaths.are_too_many(folder.key):
            return ()
        try:
            findings = self._reader.survey(folder.path, names).findings
        except ReaderKilled as exc:  # the fault of this series, not of the one that is planned
            self._deaths.add(folder.key, exc.message)
            return ()
        return findings.patients if findings else ()


def two_patients(folders: Sequence[SeriesFolder]) -> ConflictingPatients:
    """Return the problem of a study with series of other patients in `folders`."""
    records = [read_series(folder.path) for folder in folders]
    return other_patients_in([record.series for record in records if record is not None])


def other_patients_in(series_uids: Sequence[str]) -> ConflictingPatients:
    """Return the problem of a study with other patients in the series `series_uids`."""
    named = ", ".join(sorted(series_uids))
    message = f"the study holds images of different patients: another one in series {named}"
    return ConflictingPatients(
        message,
        advice="Correct the identities at the source, then send the study again. "
        "`segnode jobs replan UID --use last` with the UID of one series segments it as it is.",
    )
