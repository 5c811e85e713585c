"""The facts of a series that planning needs: bounded texts and numbers, derived from its headers.

The reader process derives it, and housekeeping plans from it without opening an image.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from node.errors import NodeError, Unsuitable, rebuild
from node.imaging import Grid
from node.series import Header, KeyObject, StudyAttributes, Survey, derived_as, is_slice, survey
from node.series.patients import Patient, patient_of

# Modalities of results and documents, ours and those of others: never the input of a model
NO_IMAGES = {
    "SEG",
    "SR",
    "PR",
    "KO",
    "DOC",
    "RTSTRUCT",
    "RTPLAN",
    "RTDOSE",
    "REG",
    "FID",
    "AU",
    "ECG",
}
PLANE_COSINE = 0.95  # a normal within 18 degrees of an axis counts as that plane
MOST_TEXT = 1024  # characters of a description or a message; a header may hold more
MOST_KEY_OBJECTS = 8  # documents of one series that are read
MOST_PATIENTS = 16  # that are listed; a second one already holds the series


class Problem(msgspec.Struct, frozen=True):
    """An error in the parts that `errors.rebuild` takes."""

    code: str
    message: str
    advice: str = ""

    @property
    def error(self) -> NodeError:
        """The error itself."""
        return rebuild(self.code, self.message, self.advice)


class SeriesFindings(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a series; a property that is unknown is None or empty."""

    series_uid: str
    modality: str
    result_modality: str = ""  # if no instance is an image: the modality of the first one
    body_part: str = ""
    study_description: str = ""
    series_description: str = ""
    protocol_name: str = ""
    sequence_name: str = ""
    image_type: str = ""  # a backslash separates its values
    contrast_agent: str = ""
    manufacturer: str = ""
    station_name: str = ""
    patient_age_years: float | None = None
    plane: str | None = None
    pixel_spacing_mm: float | None = None
    headers: int = 1  # instances, or frames of multi-frame instances
    frames: int = 1
    expected: int | None = None  # instances that all headers announce
    source_ae: str = ""  # AE title of the sender, if all files name the same
    patients: tuple[Patient, ...] = ()
    study: StudyAttributes = StudyAttributes()  # a value on which the headers differ is empty
    shape: tuple[int, int, int] | None = None  # of the volume, if the geometry is sound
    derived: str = ""  # how its images were derived, in words; empty if all are original
    key_objects: tuple[KeyObject, ...] = ()  # the documents of a series that holds no image
    affine: tuple[float, ...] = ()  # its 16 numbers, row by row
    problem: Problem | None = None  # why the geometry cannot be used

    @property
    def grid(self) -> Grid | None:
        """The places of the voxels, if the geometry is sound."""
        if self.shape is None:
            return None
        return Grid(self.shape, np.array(self.affine, np.float64).reshape(4, 4))


def findings_of(headers: Sequence[Header]) -> SeriesFindings:
    """Survey `headers`, all instances of one series in any order; the pixels may be compared."""
    surveyed, problem = _try_survey(headers)
    first = _leading_header(headers, surveyed)
    expected = {header.expected_instances for header in headers}
    sources = {header.source_ae for header in headers} - {""}
    patients = sorted({patient_of(header) for header in headers})
    are_results = all(header.modality in NO_IMAGES for header in headers)
    return SeriesFindings(
        series_uid=headers[0].series_uid,
        modality=first.modality,
        result_modality=headers[0].modality if are_results else "",
        body_part=first.body_part[:MOST_TEXT],
        study_description=first.study_description[:MOST_TEXT],
        series_description=first.series_description[:MOST_TEXT],
        protocol_name=first.protocol_name[:MOST_TEXT],
        sequence_name=first.sequence_name[:MOST_TEXT],
        image_type="\\".join(first.image_type)[:MOST_TEXT],
        contrast_agent=first.contrast_agent[:MOST_TEXT],
        manufacturer=first.manufacturer[:MOST_TEXT],
        station_name=first.station_name[:MOST_TEXT],
        patient_age_years=first.patient_age_years,
        plane=_plane(first.orientation) if first.orientation else None,
        pixel_spacing_mm=max(first.pixel_spacing_mm) if first.pixel_spacing_mm else None,
        headers=len(headers),
        frames=sum({h.sop_instance_uid: h.number_of_frames for h in headers}.values()),
        expected=expected.pop() if len(expected) == 1 else None,
        source_ae=sources.pop()[:MOST_TEXT] if len(sources) == 1 else "",
        patients=tuple(patients[:MOST_PATIENTS]),
        study=_study(headers),
        shape=surveyed.grid.shape if surveyed else None,
        derived=derived_as(surveyed.headers) if surveyed else "",
        key_objects=tuple(h.key_object for h in headers[:MOST_KEY_OBJECTS] if h.key_object),
        affine=tuple(float(number) for number in surveyed.grid.affine.flat) if surveyed else (),
        problem=problem_of(problem) if problem else None,
    )


def problem_of(error: NodeError) -> Problem:
    """Return the parts of `error`; its message may quote a header and is cut to `MOST_TEXT`."""
    return Problem(error.code, error.message[:MOST_TEXT], error.advice[:MOST_TEXT])


def _try_survey(headers: Sequence[Header]) -> tuple[Survey | None, Unsuitable | None]:
    try:
        return survey(headers), None
    except Unsuitable as exc:
        return None, exc


def _leading_header(headers: Sequence[Header], surveyed: Survey | None) -> Header:
    """Return the header that represents the series: of a slice, never of an image left out.

    If no instance is a slice, any header is returned.
    """
    slices = surveyed.headers if surveyed else (header for header in headers if is_slice(header))
    return next(iter(slices), headers[0])


def _study(headers: Sequence[Header]) -> StudyAttributes:
    """Return the values on which all headers agree; an absent one contradicts no other."""
    agreed = {}
    for name in StudyAttributes.__struct_fields__:
        values = {getattr(header.study, name) for header in headers} - {""}
        agreed[name] = values.pop() if len(values) == 1 else ""
    return StudyAttributes(**agreed)


def _plane(orientation: Sequence[float]) -> str:
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.abs(np.cross(row, column))
    axis = int(normal.argmax())
    if normal[axis] < PLANE_COSINE:
        return "oblique"
    return ("sagittal", "coronal", "axial")[axis]
