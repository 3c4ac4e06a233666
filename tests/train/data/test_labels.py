"""What the pixels of a mask mean: what it shows, never the numbers behind a palette; other values are translated."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lits_deploy.errors import DataError, SliceError, UserError
from lits_deploy.segmentation.pictures import png_of
from lits_sources import WINDOW, affine_of, as_stored, load_png, noise_patient, save_nifti, save_png, write_masks
from tiny_data import make_tiny_data
from train.check import check_data
from train.data.labels import labels_of, parse_labels, shown
from train.data.layout import read_layout
from train.data.masks import decoded, load_class
from train.prepare import PrepareSettings, prepare

LABELS = np.repeat(np.array([[0, 1, 2]], np.uint8), 3, axis=0)


def palette_mask(indices: npt.NDArray[np.uint8], colours: list[tuple[int, int, int]]) -> Image.Image:
    picture = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    picture.putpalette([value for colour in colours for value in colour])
    return picture


def reread(picture: Image.Image) -> npt.NDArray[np.uint32]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return decoded(buffer.getvalue())


GREYS = [(0, 0, 0), (1, 1, 1), (2, 2, 2)]


@pytest.mark.parametrize(
    "colours",
    [GREYS, [(0, 0, 0), (0, 160, 0), (220, 0, 0)], [(0, 0, 0), (128, 0, 0), (0, 128, 0)]],
    ids=["grey", "ours", "VOC"],
)
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_a_palette_in_any_order_gives_what_it_shows(
    colours: list[tuple[int, int, int]], order: tuple[int, int, int]
) -> None:
    indices = np.array(order, np.uint8)[LABELS]
    palette = [colours[order.index(index)] for index in range(3)]
    assert np.array_equal(labels_of(reread(palette_mask(indices, palette))), LABELS)
    assert np.array_equal(labels_of(reread(palette_mask(indices, palette).convert("RGB"))), LABELS)


def test_masks_of_segment_are_labels() -> None:
    assert np.array_equal(labels_of(decoded(png_of(LABELS))), LABELS)


@pytest.mark.parametrize(
    ("picture", "values"),
    [
        (palette_mask(LABELS, [(0, 0, 0), (127, 127, 127), (255, 255, 255)]), "0, 127, 255, which are no labels"),
        (palette_mask(LABELS, [(0, 0, 0), (9, 0, 0), (0, 0, 9)]), "0, 000009, 090000, which are no labels"),
        (palette_mask(LABELS, [(0, 0, 0), (0, 160, 0), (0, 128, 0)]), "0, 008000, 00a000"),  # ours and VOC's
        (Image.fromarray(LABELS == 2), "0, 255"),
        (Image.fromarray(LABELS.astype(np.uint16) * 30000), "0, 30000, 60000"),
        (Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3)), "0, 1, 2, 3, …"),
    ],
)
def test_other_values_are_refused_by_name(picture: Image.Image, values: str) -> None:
    with pytest.raises(SliceError, match=values):
        labels_of(reread(picture))


def test_a_palette_without_the_colours_it_uses_is_refused() -> None:
    with pytest.raises(SliceError, match="lacks colours"):
        shown(palette_mask(LABELS, GREYS[:2]))


@pytest.mark.parametrize(
    ("values", "option"),
    [
        (np.array([0, 127, 255], np.uint8), "0=0,127=1,255=2"),
        (np.array([0, 127, 255], np.uint8), "000000=0,7f7f7f=1,#FFFFFF=2"),
        (np.array([0, 1000, 60000], np.uint16), "0=0,1000=1,60000=2"),
        (np.array([[0, 0, 0], [0, 0, 255], [255, 0, 0]], np.uint8), "000000=0, 0000ff=1, ff0000=2"),
    ],
)
def test_labels_translates_greys_and_colours(values: npt.NDArray[np.generic], option: str) -> None:
    assert np.array_equal(labels_of(reread(Image.fromarray(values[LABELS])), parse_labels(option)), LABELS)


def test_labels_must_name_every_value_that_is_there() -> None:
    mask = reread(Image.fromarray(np.array([0, 127, 255], np.uint8)[LABELS]))
    with pytest.raises(SliceError, match="value 255, which --labels does not name"):
        labels_of(mask, parse_labels("0=0,127=1"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not VALUE=LABEL"),
        ("0=0,127", "'127' is not VALUE=LABEL"),
        ("255=3", "labels are 0, 1 and 2"),
        ("70000=1", "is not VALUE=LABEL"),
        ("1=1,01=2", "names 1 twice"),
        ("255=1,ffffff=2", "in grey and as a colour"),
    ],
)
def test_a_wrong_option_is_one_line(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_labels(text)


def test_masks_of_other_values_are_prepared_and_every_command_says_so(tmp_path: Path) -> None:
    patients = [noise_patient(number, slices=3) for number in range(3)]
    raw = write_masks(tmp_path / "raw", patients)
    for path in (raw / "masks").iterdir():
        save_png(path, np.array([0, 127, 255], np.uint8)[load_png(path)])
    advice = "`lits-deploy data prepare … --labels 0=0,127=1,255=2`"
    settings = PrepareSettings(layout="masks", window_hu=WINDOW, labels=parse_labels("0=0,127=1,255=2"))
    prepare(raw, tmp_path / "out", settings, workers=1)
    for patient in patients:
        for level, labels in enumerate(patient.labels):
            (path,) = (tmp_path / "out").glob(f"*/masks/volume-{patient.number:03d}_{level:04d}.png")
            assert np.array_equal(load_png(path), labels)
    with pytest.raises(DataError) as refused:
        prepare(raw, tmp_path / "other", PrepareSettings(layout="masks", window_hu=WINDOW), workers=1)
    assert "--labels 0=0,127=1" in str(refused.value)
    data = make_tiny_data(tmp_path / "data", slices=3)
    path = data / "train" / "masks" / "volume-000_0002.png"
    save_png(path, np.array([0, 127, 255], np.uint8)[load_png(path)])
    (finding,) = (one for one in check_data(data, workers=1).findings if one.kind == "mask-labels")
    assert advice in finding.message
    with pytest.raises(DataError) as refused:
        load_class(read_layout(data).splits["train"][2])
    assert advice in str(refused.value)


def test_labels_of_volumes(tmp_path: Path) -> None:
    for number in range(3):
        patient = noise_patient(number, slices=3)
        affine, folder = affine_of("LAS", patient.spacing_mm), tmp_path / "raw"
        save_nifti(folder / f"volume-{number}.nii", as_stored(patient.hu, "LAS"), affine)
        values = np.array([0, 5, 6], np.uint8)[patient.labels]
        save_nifti(folder / f"segmentation-{number}.nii", as_stored(values, "LAS"), affine)
    settings = PrepareSettings(layout="lits", window_hu=WINDOW, labels=parse_labels("0=0,5=1,6=2"))
    done = prepare(tmp_path / "raw", tmp_path / "out", settings, workers=1)
    assert np.sum(list(done.dataset["slices_per_class"].values()), axis=0).tolist() == [3, 3, 3]
    with pytest.raises(DataError, match="segmentation holds the value 5, which is no label"):
        prepare(tmp_path / "raw", tmp_path / "no", PrepareSettings(layout="lits", window_hu=WINDOW), workers=1)
    with pytest.raises(UserError, match="no colour"):
        PrepareSettings(layout="lits", window_hu=WINDOW, labels=parse_labels("ff0000=1"))
    with pytest.raises(UserError, match="leave --labels out"):
        PrepareSettings(layout="lits-png", window_hu=WINDOW, labels=parse_labels("0=0"))
