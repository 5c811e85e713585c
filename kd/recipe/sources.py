"""Define the part of a recipe about data: the cases, and data sets of other sources."""

import msgspec

from kd.recipe.bounds import SegmentNumber, Strict


class Data(Strict, frozen=True, kw_only=True):
    """Where the cases are, relative to the data folder given on the command line."""

    images: str = "images"
    labels: str = "labels"
    image_ending: str = ".nii.gz"  # after the case's name; _0000.nii.gz in nnU-Net's raw layout
    label_ending: str = ".nii.gz"
    image_prefix: str = ""  # before the case's name; the same in all folders of images
    label_prefix: str = ""
    # folders of the test cases, where they are not among the training cases (nnU-Net: imagesTs)
    test_images: str | None = None
    test_labels: str | None = None
    splits: str = "splits.json"
    cases: dict[str, tuple[str, ...]] = msgspec.field(
        default_factory=dict
    )  # the splits themselves, instead of a file
    train: str = "train"
    test: str = "val"
    # segments that are not labelled in every case: absent from a case means unknown, not background
    partial: tuple[SegmentNumber, ...] = ()
    negatives: bool = False  # cases without a labelled voxel show no structure; false: refused
    # a package names the cases; otherwise it has pseudonyms, because names may identify patients
    public_names: bool = False
    source: str = ""  # name, licence and citation, for the card
    licence: str = ""


class External(Strict, frozen=True, kw_only=True):
    """A labelled data set of another source, never used in training, for external validation."""

    name: str
    images: str  # folder, relative to the one given on the command line
    labels: str
    image_ending: str = ".nii.gz"
    label_ending: str = ".nii.gz"
    subjects: dict[str, str] = msgspec.field(
        default_factory=dict
    )  # case -> subject, where a subject has several cases
    ids: str | None = None  # CSV beside the recipe that translates label ids (kd.data.ids)
    note: str = ""  # what the reference is, and how to interpret the result


class Unlabelled(Strict, frozen=True, kw_only=True):
    """Real images without reference labels; the release reports the segmented volumes."""

    name: str
    images: str  # folder, relative to the one given on the command line
    image_ending: str = ".nii.gz"
    subjects: dict[str, str] = msgspec.field(
        default_factory=dict
    )  # case -> subject, where a subject has several cases
    against: str | None = None  # folder with another contrast of the same subjects, by case name
    against_ending: str = ".nii.gz"
    masks: str | None = None  # folder of lesion masks on the images' grids
    mask_ending: str = ".nii.gz"
    note: str = ""
