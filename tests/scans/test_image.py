"""PNG and JPEG: grey pictures give their very pixels, anything doubtful gives a reason without path or metadata."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans.image import load_slice, read
from pictures import encoded, grey_pixels, png_chunk, png_header

CONTRACT = InputContract(window_hu=(-40.0, 160.0), size=64, crop=56)
GREY = grey_pixels(64)
RGB = np.stack([GREY] * 3, axis=2)


def reason(data: bytes, contract: InputContract = CONTRACT) -> str:
    with pytest.raises(SliceError) as caught:
        load_slice(data, contract)
    return str(caught.value)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_grey_png_and_jpeg_keep_their_pixels() -> None:
    slice_ = load_slice(encoded(GREY), CONTRACT)
    assert slice_.shape == (1, 64, 64)
    assert slice_.dtype == np.uint8
    np.testing.assert_array_equal(slice_[0], GREY)
    jpeg = encoded(GREY, "JPEG", quality=90)
    np.testing.assert_array_equal(load_slice(jpeg, CONTRACT)[0], np.asarray(Image.open(io.BytesIO(jpeg))))


def test_a_path_reads_as_its_bytes_and_the_name_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(GREY, "JPEG"))
    np.testing.assert_array_equal(load_slice(tmp_path / "a.png", CONTRACT), load_slice(encoded(GREY, "JPEG"), CONTRACT))
    assert len(list(read(encoded(GREY), CONTRACT).frames)) == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colour_files_that_are_really_grey_are_accepted(mode: str) -> None:
    data = saved(Image.fromarray(GREY).convert(mode))
    np.testing.assert_array_equal(load_slice(data, CONTRACT)[0], GREY)


def test_one_bit_pictures_are_black_and_white() -> None:
    bits = GREY > 127
    np.testing.assert_array_equal(load_slice(saved(Image.fromarray(bits)), CONTRACT)[0], bits * np.uint8(255))


@pytest.mark.parametrize("quality", [50, 95])
def test_grey_as_colour_jpeg_may_have_chroma_noise(quality: int) -> None:
    noisy = RGB.astype(int)
    noisy[..., 0] += np.random.default_rng(0).integers(-1, 2, GREY.shape)
    data = encoded(noisy.clip(0, 255).astype(np.uint8), "JPEG", quality=quality, subsampling=0)
    assert abs(load_slice(data, CONTRACT)[0].astype(int) - GREY).mean() < 4


def annotated() -> np.ndarray[Any, Any]:
    marked = RGB.copy()
    marked[10, 10:40] = (255, 220, 0)  # a measuring line
    return marked


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encoded(annotated()), "colour, not grey", id="a coloured line"),
        pytest.param(encoded(RGB // np.uint8([1, 2, 3])), "colour, not grey", id="true colour"),
        pytest.param(encoded(RGB // np.uint8([1, 2, 3]), "JPEG"), "colour, not grey", id="true colour JPEG"),
        pytest.param(saved(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "colour (CMYK)", id="CMYK"),
        pytest.param(encoded(GREY.astype(np.uint16) * 257), "16 bits a pixel: window it", id="16-bit grey"),
        pytest.param(png_header(64, 64, depth=16, colour=2), "16 bits a pixel: window it", id="16-bit colour"),
        pytest.param(encoded(GREY)[:-400], "the PNG is truncated", id="truncated PNG"),
        pytest.param(encoded(GREY)[:-1], "the PNG is truncated", id="PNG without its last byte"),
        pytest.param(encoded(GREY, "JPEG")[:-300], "the JPEG is truncated or damaged", id="truncated JPEG"),
        pytest.param(encoded(GREY, "JPEG")[:20], "a JPEG with a damaged header", id="JPEG header only"),
        pytest.param(b"", "the file is empty", id="zero bytes"),
        pytest.param(b"Name: Doe, John\n" * 99, "the content is neither PNG nor JPEG", id="text"),
        pytest.param(saved(Image.fromarray(GREY), "GIF"), "the content is neither PNG nor JPEG", id="GIF"),
        pytest.param(saved(Image.fromarray(GREY), "TIFF"), "the content is neither PNG nor JPEG", id="TIFF"),
        pytest.param(png_header(9000, 9000), "9000×9000 pixels: a decompression bomb?", id="bomb"),
        pytest.param(png_header(60000, 60000), "a decompression bomb?", id="large bomb"),
        pytest.param(encoded(GREY[:, :60]), "60×64 pixels: not square", id="not square"),
        pytest.param(encoded(grey_pixels(16)), "16×16 pixels: too small for 64×64", id="too small"),
        pytest.param(
            saved(Image.fromarray(GREY), save_all=True, append_images=[Image.fromarray(255 - GREY)]),
            "an animation",
            id="APNG",
        ),
        pytest.param(
            saved(Image.fromarray(GREY), "MPO", save_all=True, append_images=[Image.fromarray(GREY)]),
            "several pictures",
            id="two pictures in a JPEG",
        ),
    ],
)
def test_doubtful_pictures_are_refused_with_a_reason(data: bytes, expected: str) -> None:
    text = reason(data)
    assert expected in text
    assert "Doe" not in text


def test_alpha_must_be_opaque() -> None:
    alpha = np.full((64, 64), 255, np.uint8)
    alpha[3, 3] = 254
    assert reason(encoded(np.dstack([RGB, alpha]))) == "transparent pixels"
    assert reason(encoded(np.dstack([GREY, alpha]))) == "transparent pixels"
    assert reason(saved(Image.fromarray(GREY), transparency=int(GREY[0, 0]))) == "transparent pixels"


def test_an_altered_png_is_noticed() -> None:
    data = bytearray(encoded(GREY))
    data[len(data) // 2] ^= 1
    assert reason(bytes(data)) == "the PNG is damaged: a checksum does not match"


def test_a_huge_text_chunk_is_not_inflated() -> None:
    import zlib

    data = encoded(GREY)
    bomb = png_chunk(b"zTXt", b"x\0\0" + zlib.compress(b"\0" * (80 << 20), 9))
    assert "PNG" in reason(data[:33] + bomb + data[33:])


@pytest.mark.parametrize(("orientation", "accepted"), [(1, True), (6, False), (3, False)])
def test_exif_orientation_is_neither_applied_nor_ignored(orientation: int, accepted: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG"):
        data = saved(Image.fromarray(GREY), kind, exif=exif)
        if accepted:
            load_slice(data, CONTRACT)
        else:
            assert reason(data).startswith("EXIF asks to turn")


def test_resizing_follows_the_contract() -> None:
    double = np.kron(GREY, np.ones((2, 2), np.uint8))
    np.testing.assert_array_equal(load_slice(encoded(double), CONTRACT)[0], GREY)
    big = grey_pixels(128)
    mean = big.reshape(64, 2, 64, 2).astype(float).mean(axis=(1, 3))
    assert abs(load_slice(encoded(big), CONTRACT)[0] - mean).max() <= 0.5
    assert load_slice(encoded(grey_pixels(100)), CONTRACT).shape == (1, 64, 64)
    assert load_slice(encoded(grey_pixels(40)), CONTRACT).shape == (1, 64, 64)
    bilinear = InputContract(window_hu=None, size=64, crop=56, resize="bilinear")
    assert load_slice(encoded(big), bilinear).shape == (1, 64, 64)
    never = InputContract(window_hu=None, size=64, crop=56, resize="never")
    assert reason(encoded(big), never) == "128×128 pixels: the network takes 64×64 and no other"
    np.testing.assert_array_equal(load_slice(encoded(GREY), never)[0], GREY)


def test_a_picture_is_one_channel_and_its_neighbours_are_others_business() -> None:
    with pytest.raises(ValueError, match="one channel, not 3"):
        load_slice(encoded(GREY), InputContract(window_hu=None, channels=3, size=64, crop=56))


def test_the_real_hostile_files_give_reasons(shared_data: Path) -> None:
    contract = InputContract(window_hu=None)
    for path in sorted((shared_data / "scans/hostile/png").iterdir()):
        assert reason(path.read_bytes(), contract)


def test_real_slices_are_read_as_they_are(shared_data: Path) -> None:
    path = next((shared_data / "lits/test/images").glob("*.jpg"))
    np.testing.assert_array_equal(
        load_slice(path, InputContract(window_hu=None))[0], np.asarray(Image.open(path), dtype=np.uint8)
    )
