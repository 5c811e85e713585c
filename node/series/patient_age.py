"""The age of a patient at the study, from the header of an image (PS3.3 C.7.2.2, PS3.5 6.2)."""

from pydicom.dataset import Dataset

from node.series.values import DAYS_PER_YEAR, age_years, day_of, text

STUDY_DAYS = ("StudyDate", "AcquisitionDate", "SeriesDate")
LEAST_WHOLE_YEARS = 2  # from this age on, Patient's Age counts whole years
OLDEST_YEARS = 120  # an older patient has a birth date that stands for an unknown one


def patient_age_years(dataset: Dataset) -> float | None:
    """Return Patient's Age; if absent or 0, the age at the study by the birth date, if known."""
    stated = age_years(text(dataset, "PatientAge"))
    if stated:
        return stated
    days = (text(dataset, keyword) for keyword in STUDY_DAYS)
    at = next((day for day in map(day_of, days) if day is not None), None)
    born = day_of(text(dataset, "PatientBirthDate"))
    if born is None or at is None:
        return stated
    computed = (at - born).days / DAYS_PER_YEAR
    if computed >= LEAST_WHOLE_YEARS:
        computed = at.year - born.year - ((at.month, at.day) < (born.month, born.day))
    return computed if 0 < computed <= OLDEST_YEARS else stated


def birth_day(dataset: Dataset) -> str:
    """Return the birth date in one notation; empty if it is absent or no date."""
    born = day_of(text(dataset, "PatientBirthDate"))
    return born.isoformat() if born else ""
