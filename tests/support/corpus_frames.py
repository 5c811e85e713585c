"""Odd headers of multi-frame CT and MR images: the change of a real image, and its code."""

from pydicom.dataset import Dataset

from tests.support.corpus import Change, each
from tests.support.enhanced import frames, group, shared
from tests.support.odd_headers import Edit, real_world, sets

ENHANCED = (  # the object as a whole; frames have groups
    "plain", "no photometric interpretation", "no bits stored", "no high bit", "no sign",
    "bits stored too many", "palette", "monochrome1", "MIP of Siemens", "localizer", "screen",
    "subtraction", "map", "average", "reformat", "coerced accession", "lossy flag",
    "positioning picture", "rendering", "perfusion", "no instance numbers", "child",
    "unknown character set", "another modality", "described as a projection",
    "derivation described", "lossy by another word",
)  # fmt: skip


def in_frame(edit: Edit) -> Change:
    """Edit the functional groups of the second frame."""
    return each(lambda dataset: edit(frames(dataset)[1]))


def in_all_frames(edit: Edit) -> Change:
    def edit_frames(dataset: Dataset) -> None:
        for groups in frames(dataset):
            edit(groups)

    return each(edit_frames)


def frame_type(**values: object) -> Edit:
    return lambda groups: group(groups, "MRImageFrameTypeSequence", **values)


def echo_time(ms: float) -> Edit:
    return lambda groups: group(groups, "MREchoSequence", EffectiveEchoTime=ms)


FRAMES: dict[str, tuple[Change, str]] = {
    "another echo time in one frame": (
        lambda images: in_frame(echo_time(90.0))(in_all_frames(echo_time(10.0))(images)),
        "four-dimensional",
    ),
    "another b-value in one frame": (
        lambda images: in_frame(
            lambda groups: group(groups, "MRDiffusionSequence", DiffusionBValue=1000.0)
        )(
            in_all_frames(lambda groups: group(groups, "MRDiffusionSequence", DiffusionBValue=0.0))(
                images
            )
        ),
        "four-dimensional",
    ),
    "curved by its properties": (
        in_all_frames(
            frame_type(
                VolumetricProperties="DISTORTED", FrameType=["DERIVED", "PRIMARY", "T1", "NONE"]
            )
        ),
        "projection",
    ),
    "distorted echo planes": (in_all_frames(frame_type(VolumetricProperties="DISTORTED")), ""),
    "colours above grey values": (
        in_all_frames(frame_type(PixelPresentation="COLOR")),
        "colour-image",
    ),
    "phase in one frame": (in_frame(frame_type(ComplexImageComponent="PHASE")), "parametric-map"),
    "quantity in one frame": (
        in_frame(frame_type(FrameType=["DERIVED", "PRIMARY", "T2", "QUANTITY"])),
        "parametric-map",
    ),
    "projections by technique": (
        in_all_frames(frame_type(VolumeBasedCalculationTechnique="MAX_IP")),
        "projection",
    ),
    "localizers by frame type": (
        in_all_frames(frame_type(FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"])),
        "localizer",
    ),
    "milliseconds in all frames": (in_all_frames(real_world("ms")), "parametric-map"),
    "milliseconds in one frame": (in_frame(real_world("ms")), "mixed-units"),
}


def rescale(**values: object) -> Edit:
    return lambda groups: group(groups, "PixelValueTransformationSequence", **values)


def ct_frame_type(**values: object) -> Change:
    return in_all_frames(lambda groups: group(groups, "CTImageFrameTypeSequence", **values))


def without_rescale(groups: Dataset) -> None:
    del groups.PixelValueTransformationSequence


def shared_rescale(dataset: Dataset) -> None:
    """Move the rescale of the first frame to the shared groups."""
    item = frames(dataset)[0].PixelValueTransformationSequence[0]
    rescale(RescaleSlope=item.RescaleSlope, RescaleIntercept=item.RescaleIntercept)(shared(dataset))
    for groups in frames(dataset):
        without_rescale(groups)


CT_FRAMES: dict[str, tuple[Change, str]] = {
    "no rescale in one frame": (in_frame(without_rescale), "unusable-rescale"),
    "rescale beside the frames": (
        lambda images: each(sets(RescaleSlope="1", RescaleIntercept="-1024"))(
            in_all_frames(without_rescale)(images)
        ),
        "unusable-rescale",
    ),
    "rescale in the shared groups": (each(shared_rescale), ""),
    "a frame in other units than the shared groups": (
        lambda images: in_frame(rescale(RescaleSlope="1", RescaleIntercept="0", RescaleType="US"))(
            each(shared_rescale)(images)
        ),
        "wrong-units",
    ),
    "unspecified in one frame": (in_frame(rescale(RescaleType="US")), "wrong-units"),
    "maximum": (
        ct_frame_type(FrameType=["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"]),
        "projection",
    ),
    "one energy": (ct_frame_type(FrameType=["DERIVED", "PRIMARY", "VOLUME", "VMI"]), ""),
    "one material": (
        ct_frame_type(FrameType=["DERIVED", "PRIMARY", "VOLUME", "MAT_SPECIFIC"]),
        "parametric-map",
    ),
    "renderings": (ct_frame_type(VolumeBasedCalculationTechnique="VOLUME_RENDER"), "projection"),
    "curved by its properties": (
        ct_frame_type(
            VolumetricProperties="DISTORTED", FrameType=["DERIVED", "PRIMARY", "VOLUME", "NONE"]
        ),
        "projection",
    ),
    "milligrams in one frame": (in_frame(real_world("mg/cm3")), "mixed-units"),
    "two stacks": (
        in_frame(lambda groups: group(groups, "FrameContentSequence", StackID="2")),
        "four-dimensional",
    ),
    "fewer frames than groups": (each(sets(NumberOfFrames=3)), "enhanced-multi-frame"),
}
