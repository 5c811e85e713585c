"""Read each frame of a multi-frame instance as a header, like that of a single-frame instance.

Guarantees: a value is found in the shared and in the per-frame functional groups (PS3.3
C.7.6.16); if the groups do not fit the frames, the header has a `frames_problem`.
`survey` decides whether the frames make one volume.
"""

from functools import partial
from pathlib import Path

import msgspec
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

from node.dicom.bounds import decoding_problem, frame_bytes
from node.errors import OversizedImage
from node.series.header import Header, header_of, read_instance
from node.series.units import units_of
from node.series.values import (
    b_value,
    code,
    codes,
    derivation_codes,
    items,
    number,
    text,
    vector,
    whole_number,
)

SINGLE_FRAME_CLASSES: dict[str, str] = {  # multi-frame SOP class -> single-frame SOP class
    EnhancedCTImageStorage: CTImageStorage,
    LegacyConvertedEnhancedCTImageStorage: CTImageStorage,
    EnhancedMRImageStorage: MRImageStorage,
    LegacyConvertedEnhancedMRImageStorage: MRImageStorage,
}
FRAME_TYPES = {
    CTImageStorage: "CTImageFrameTypeSequence",
    MRImageStorage: "MRImageFrameTypeSequence",
}
DISTORTED = "DISTORTED"  # a curved reformat, if derived; Siemens also means distorted echo planes
REAL_WORLD = "RealWorldValueMappingSequence"
MOST_FRAMES = 10_000  # far more than any volume has; bounds the memory for headers


def read_headers(path: Path) -> tuple[Header, ...]:
    """Read the header of each slice in one Part 10 file.

    Raises:
        NotAnImage: the file is no DICOM object, is truncated, or lacks one of its four UIDs.
        OversizedValue, OversizedImage: as `headers_of`.
    """
    dataset, pixel_element = read_instance(path)
    return headers_of(dataset, path, pixel_element)


def headers_of(
    dataset: Dataset, path: Path, pixel_element: str = "PixelData"
) -> tuple[Header, ...]:
    """Return a header for each frame of an Enhanced CT or MR image, else one for the instance.

    Raises:
        NotAnImage: the instance lacks one of its four UIDs.
        OversizedValue, OversizedImage: it claims more than an image needs, or than is decoded.
    """
    whole = header_of(dataset, path, pixel_element)
    _refuse_oversized(whole)
    problem = _problem(whole, dataset)
    if problem:
        return (msgspec.structs.replace(whole, frames_problem=problem),)
    if whole.sop_class_uid not in SINGLE_FRAME_CLASSES:
        return (whole,)
    return tuple(_of_frame(whole, dataset, at + 1) for at in range(whole.number_of_frames))


def functional_group(dataset: Dataset, frame: int, keyword: str) -> Dataset:
    """Return a functional group of a frame (from 1): per-frame, else shared, else empty."""
    for group in items(_groups_with(dataset, frame, keyword), keyword)[:1]:
        return group
    return Dataset()


def _refuse_oversized(whole: Header) -> None:
    pixels = whole.pixels
    frame = frame_bytes(
        whole.rows or 0,
        whole.columns or 0,
        pixels.samples_per_pixel or 1,
        pixels.bits_allocated or 8,
    )
    problem = decoding_problem(frame, whole.number_of_frames) if pixels.data else ""
    if problem:
        raise OversizedImage(problem, advice="Send the slices of a CT or MR series instead.")


def _problem(whole: Header, dataset: Dataset) -> str:
    count = whole.number_of_frames
    holds = f"an instance holds {count} {'frame' if count == 1 else 'frames'}"
    if whole.sop_class_uid not in SINGLE_FRAME_CLASSES:
        return f"{holds} and is no Enhanced CT or MR image" if count > 1 else ""
    if count > MOST_FRAMES:
        return f"{holds}, and up to {MOST_FRAMES} can be read"
    described = len(items(dataset, "PerFrameFunctionalGroupsSequence"))
    return f"{holds}, and its functional groups describe {described}" if described != count else ""


def _of_frame(whole: Header, dataset: Dataset, frame: int) -> Header:
    group = partial(functional_group, dataset, frame)
    measures, content = group("PixelMeasuresSequence"), group("FrameContentSequence")
    kind = group(FRAME_TYPES[SINGLE_FRAME_CLASSES[whole.sop_class_uid]])
    presentation = code(kind, "PixelPresentation") or whole.pixels.presentation
    technique = codes(kind, "VolumeBasedCalculationTechnique")
    volumetric = code(kind, "VolumetricProperties") or code(dataset, "VolumetricProperties")
    curved = (DISTORTED,) if volumetric == DISTORTED else ()  # PS3.3 C.8.16.2.1.2
    place, directions = group("PlanePositionSequence"), group("PlaneOrientationSequence")
    component = text(kind, "ComplexImageComponent").upper()
    rescale = group("PixelValueTransformationSequence")
    return msgspec.structs.replace(
        whole,
        frame=frame,
        position_mm=vector(place, "ImagePositionPatient", 3),
        orientation=vector(directions, "ImageOrientationPatient", 6),
        pixel_spacing_mm=vector(measures, "PixelSpacing", 2),
        slice_thickness_mm=number(measures, "SliceThickness"),
        derivations=(
            *whole.derivations,
            *derivation_codes(group("DerivationImageSequence")),  # PS3.3 C.7.6.16.2.6
        ),
        pixels=msgspec.structs.replace(whole.pixels, presentation=presentation),
        # any of the three may name a projection or a localizer
        image_type=(*codes(kind, "FrameType"), *whole.image_type, *technique, *curved),
        complex_component=component or whole.complex_component,
        units=units_of(dataset, rescale, _groups_with(dataset, frame, REAL_WORLD)),
        echo_time_ms=number(group("MREchoSequence"), "EffectiveEchoTime"),
        acquisition_number=whole_number(content, "FrameAcquisitionNumber"),
        temporal_position=whole_number(content, "TemporalPositionIndex"),
        stack_id=text(content, "StackID"),
        b_value=b_value(group("MRDiffusionSequence")),
    )


def _groups_with(dataset: Dataset, frame: int, keyword: str) -> Dataset:
    """Return the functional groups with `keyword`: of the frame (from 1), shared, or the object."""
    own = items(dataset, "PerFrameFunctionalGroupsSequence")[frame - 1]
    shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
    return next((groups for groups in (own, *shared) if items(groups, keyword)), dataset)
