"""Encode labels as a SEG dataset with highdicom.

Guarantees: the object depends only on the inputs, `created` and the local time zone, so encoding
twice gives the same object; its UIDs depend on neither time nor zone.
"""

import datetime
import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import highdicom as hd
import msgspec
import numpy as np
import numpy.typing as npt
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from node.caveats import NOTHING_DETECTED
from node.colours import Colour, display_colours
from node.dicom.time_zones import declared_zone, in_zone_of
from node.dicom.uids import derive_uid
from node.encoding import Encoding
from node.imaging import Labels
from node.package import Code, Package, Segment
from node.seg.binary import add_frames, shown_segments
from node.seg.identity import SegIdentity
from node.seg.names import (
    LONGEST_TEXT,
    content_label,
    segment_description,
    series_description,
    series_number,
)
from node.seg.repair import UTF_8
from node.seg.source import refer, slices_of, slim_copies
from node.series import Series

HIGHDICOM_VENDOR = "Highdicom open-source contributors"


@contextmanager
def _no_collection() -> Iterator[None]:
    """Disable the cyclic garbage collector: nothing becomes garbage before the end.

    It would visit the hundred thousand objects of a thousand frames again and again, which takes
    a quarter of the encoding time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_no_collection()
def encode(  # noqa: PLR0913 – a SEG depends on all of these
    series: Series,
    labels: Labels,
    package: Package,
    size: str,
    *,
    inputs_digest: str,
    identity: SegIdentity,
    encoding: Encoding,
    created: datetime.datetime,
) -> Dataset:
    """Return the SEG of `labels` on the grid of `series`.

    Args:
        series: the segmented series.
        labels: the result on the same grid, 0 for background; all 0 is a valid result.
        package: the model; all of its segments are described, detected or not.
        size: the size of the network that ran.
        inputs_digest: digest of all inputs, from the job.
        identity: the node as equipment, and the root of its UIDs.
        encoding: the form that the target can show.
        created: the date and time of the result, written in the zone of the source.

    Raises:
        ValueError: `labels` lie on another grid or hold a number that is no segment of `package`.
    """
    _check_labels(series, labels, package)
    known = Described(series, labels, package, size, inputs_digest, identity, encoding, created)
    if encoding.kind == "labelmap":
        pixels = np.ascontiguousarray(labels.array)
        return by_highdicom(known, pixels, omit_empty=encoding.omit_empty_frames)[0]
    # highdicom makes one small frame for each slice, and `add_frames` the frames of all segments
    n_segments = len(package.manifest.segments)
    shown = shown_segments(labels.array, n_segments, omit_empty=encoding.omit_empty_frames)
    one_each = shown.any(1).astype(np.uint8).reshape(-1, 1, 1)
    seg, slices = by_highdicom(known, one_each, omit_empty=True)
    add_frames(seg, labels.array, shown, slices)
    return seg


class Described(NamedTuple):
    """What a SEG depends on; `encode` describes each."""

    series: Series
    labels: Labels
    package: Package
    size: str
    inputs_digest: str
    identity: SegIdentity
    encoding: Encoding
    created: datetime.datetime


def by_highdicom(
    known: Described, pixels: npt.NDArray[np.uint8], *, omit_empty: bool
) -> tuple[Dataset, list[int]]:
    """Let highdicom make the SEG with the frames of `pixels`; also return the slice of each frame.

    Args:
        known: what the SEG depends on.
        pixels: segment numbers [slice, row, column]; planes of another size than the source's give
            an object whose frames must be replaced.
        omit_empty: make no frame where a slice has no voxel of a segment.
    """
    series, labels, package, size, inputs_digest, identity, encoding, created = known
    images = slim_copies(series, (pixels.shape[1], pixels.shape[2]))
    first = series.survey.headers[0]
    series_uid = derive_uid(
        identity.uid_root, "series", first.study_uid, first.series_uid, inputs_digest, package.name,
        package.digest, size, encoding.kind,
    )  # fmt: skip
    content = _content_digest(labels, identity, encoding)
    uid = derive_uid(identity.uid_root, "instance", series_uid, inputs_digest, content)
    when = in_zone_of(images[0], created)
    is_labelmap = encoding.kind == "labelmap"
    seg = hd.seg.Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type="LABELMAP" if is_labelmap else "BINARY",
        segment_descriptions=_descriptions(package, size, identity, series_uid),
        series_instance_uid=series_uid,
        series_number=series_number(first, encoding.kind),
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=identity.manufacturer,
        manufacturer_model_name=identity.model_name,
        software_versions=_versions(package, size, identity),
        device_serial_number=identity.serial,
        institution_name=identity.institution or None,
        # RLE: 31 MB become 0.7, and every reader of LABELMAP has it; BINARY with RLE is risky
        transfer_syntax_uid=RLELossless if is_labelmap else ExplicitVRLittleEndian,
        omit_empty_frames=omit_empty,
        content_label=content_label(package, first),
        content_description=_description(package, size, labels),
        contributing_equipment=[_equipment(package, size, identity, when)],
        series_description=series_description(package, size, first),
        series_date=when.date(),
        series_time=when.time(),
        content_date=when.date(),
        content_time=when.time(),
        specific_character_set=UTF_8,
    )
    slices = slices_of(seg)
    refer(seg, series)
    if is_labelmap:
        _order_for_readers_by_index(seg)
    _settle(seg, images[0], when, derive_uid(identity.uid_root, "dimensions", uid))
    return seg, slices


def _check_labels(series: Series, labels: Labels, package: Package) -> None:
    if not labels.grid.is_close(series.survey.grid):
        message = "the labels do not lie on the grid of the series"
        raise ValueError(message)
    highest = int(labels.array.max(initial=0))
    if highest > max(package.manifest.numbers):
        message = f"label {highest} is not a segment of package {package.name}"
        raise ValueError(message)


def _content_digest(labels: Labels, identity: SegIdentity, encoding: Encoding) -> str:
    digest = hashlib.sha256(labels.array.tobytes())
    digest.update(msgspec.json.encode((labels.grid.shape, identity, encoding)))
    return digest.hexdigest()


def _versions(package: Package, size: str, identity: SegIdentity) -> tuple[str, str]:
    node = f"{identity.model_name} {identity.software_version}"
    return (node[:LONGEST_TEXT], f"{package.name} {size}"[-LONGEST_TEXT:])


def _description(package: Package, size: str, labels: Labels) -> str:
    detected = "" if labels.array.any() else f": {NOTHING_DETECTED.text.lower()}"
    name = f"{package.name} {size}{detected}"
    return f"{name[: LONGEST_TEXT - 26]}; AI, not for diagnosis"


def _order_for_readers_by_index(seg: Dataset) -> None:
    """Describe segment n of a label map in the n-th item, and refer to the images as frames do.

    Highdicom describes the background first: viewers that go by index would give each segment the
    colour of its predecessor.
    """
    seg.SegmentSequence = sorted(seg.SegmentSequence, key=lambda item: item.SegmentNumber == 0)
    sources = (
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for group in seg.PerFrameFunctionalGroupsSequence
    )
    place = {uid: at for at, uid in reversed(list(enumerate(sources)))}
    series = seg.ReferencedSeriesSequence[0]
    series.ReferencedInstanceSequence = sorted(
        series.ReferencedInstanceSequence,
        key=lambda image: place.get(image.ReferencedSOPInstanceUID, len(place)),
    )


def _descriptions(
    package: Package, size: str, identity: SegIdentity, series_uid: str
) -> list[hd.seg.SegmentDescription]:
    manifest = package.manifest
    colours = display_colours(manifest.segments)
    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"{manifest.task} {size}"[:LONGEST_TEXT],
        family=codes.DCM.ArtificialIntelligence,
        version=manifest.version,
        source=identity.manufacturer,
        parameters={"package": package.name, "size": size, "sha256": package.digest},
    )
    return [
        _segment(
            segment,
            algorithm,
            tracking_id=f"{package.name} segment {segment.number}"[-LONGEST_TEXT:],
            tracking_uid=derive_uid(identity.uid_root, "tracking", series_uid, str(segment.number)),
            text=segment_description(segment, package, size),
            colour=colours[segment.number],
        )
        for segment in manifest.segments
    ]


def _segment(
    segment: Segment,
    algorithm: hd.AlgorithmIdentificationSequence,
    tracking_id: str,
    tracking_uid: str,
    text: str,
    colour: Colour,
) -> hd.seg.SegmentDescription:
    description = hd.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.label,
        segmented_property_category=_concept(segment.category),
        segmented_property_type=_concept(segment.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid,
        tracking_id=tracking_id,
        display_color=CIELabColor.from_rgb(*colour),
    )
    description.SegmentDescription = text
    if segment.modifier is not None:
        # PS3.3 table C.8.20-4: the modifier lies inside the item of the type that it modifies
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [_concept(segment.modifier)]
    return description


def _concept(code: Code) -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _equipment(
    package: Package, size: str, identity: SegIdentity, when: datetime.datetime
) -> hd.ContributingEquipment:
    return hd.ContributingEquipment(
        manufacturer=identity.manufacturer,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=identity.model_name,
        software_versions=list(_versions(package, size, identity)),
        device_serial_number=identity.serial,
        institution_name=identity.institution or None,
        contribution_datetime=when,
        contribution_description=(
            f"Segmented by {package.name}, size {size}, package SHA-256 {package.digest}"
        ),
    )


def _settle(seg: Dataset, image: Dataset, when: datetime.datetime, dimensions: str) -> None:
    """Set the values that highdicom takes from the clock or at random, or leaves out."""
    seg.InstanceCreationDate, seg.InstanceCreationTime = f"{when:%Y%m%d}", f"{when:%H%M%S}"
    if declared_zone(image) is None:
        # an offset would apply to the inherited study time too, and its zone is unknown
        seg.pop("TimezoneOffsetFromUTC", None)
    else:
        seg.TimezoneOffsetFromUTC = f"{when:%z}"
    for item in seg.ContributingEquipmentSequence:
        if item.get("Manufacturer") == HIGHDICOM_VENDOR:
            item.ContributionDateTime = f"{when:%Y%m%d%H%M%S%z}"
    for index in seg.DimensionIndexSequence:
        index.DimensionOrganizationUID = dimensions
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = dimensions
    if image.get("BodyPartExamined"):
        seg.BodyPartExamined = image.BodyPartExamined
