"""What of an image file becomes pixels: ranges, orientation, transparency; and what is refused."""

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from random_mask.data.decoding import BACKDROP, FORMATS, UnreadableError, pixels

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
RAMP = np.linspace(0, 65535, 32 * 32).reshape(32, 32)


def packed(image, file_format="PNG", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return content.getvalue()


def grey(content: bytes) -> np.ndarray:
    found = pixels(content, 32)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    return found[0]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG2000", "PPM"])
def test_16_bits_are_scaled_to_8_by_their_range(file_format):
    content = packed(Image.fromarray(RAMP.astype(np.uint16)), file_format)
    assert np.array_equal(grey(content), np.rint(RAMP.astype(np.uint16) / 257))


@pytest.mark.parametrize(
    ("kind", "words"), [(np.int32, "signed or 32-bit integers"), (np.float32, "floating-point")]
)
def test_what_has_no_known_range_is_refused(kind, words):
    with pytest.raises(UnreadableError, match=f"has {words}.*, whose range is not known"):
        pixels(packed(Image.fromarray(RAMP.astype(kind)), "TIFF"), 32)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(orientation):
    """As the EXIF standard says: in which corner of the scene the first row and column of the file are."""
    scene = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((16, 16), np.uint8))
    stored = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.T,
        6: np.rot90(scene, 1),
        7: np.rot90(scene, 2).T,
        8: np.rot90(scene, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for file_format in ("PNG", "TIFF"):
        content = packed(Image.fromarray(np.ascontiguousarray(stored)), file_format, exif=exif)
        assert np.array_equal(grey(content), scene)


@pytest.mark.filterwarnings("ignore")
def test_damaged_notes_of_a_camera_leave_the_image_as_it_is():
    content = packed(Image.fromarray(COLOURS), exif=b"Exif\0\0II*\0nonsense")
    assert np.array_equal(pixels(content, 32), COLOURS.transpose(2, 0, 1))


@pytest.mark.parametrize("ink", [0, 255])
def test_a_drawing_on_transparent_ground_is_seen_whatever_hides_behind(ink):
    shown = np.zeros((32, 32), bool)
    shown[8:24, 8:24] = True
    drawing = np.dstack([np.full((32, 32, 3), ink), np.where(shown, 255, 0)]).astype(np.uint8)
    expected = np.where(shown, ink, BACKDROP[0])
    image = Image.fromarray(drawing)
    assert np.array_equal(grey(packed(image)), expected)
    assert np.array_equal(grey(packed(image.convert("LA"))), expected)
    assert np.array_equal(grey(packed(image, "WEBP", lossless=True)), expected)
    palette = Image.fromarray(shown.astype(np.uint8))
    palette.putpalette([7, 7, 7, ink, ink, ink])
    assert np.array_equal(grey(packed(palette, transparency=0)), expected)


def test_of_several_pictures_the_first_is_taken():
    frames = [Image.fromarray(np.full((32, 32), level, np.uint8)) for level in (10, 200)]
    for file_format in ("GIF", "TIFF"):
        content = packed(frames[0], file_format, save_all=True, append_images=frames[1:])
        assert (grey(content) == 10).all()


def test_all_formats_are_read_and_no_other():
    for file_format in FORMATS:
        assert pixels(packed(Image.fromarray(COLOURS), file_format), 40).shape == (3, 40, 40)
    for file_format in ("EPS", "TGA", "PDF"):
        with pytest.raises(UnreadableError):
            pixels(packed(Image.fromarray(COLOURS), file_format), 32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", FORMATS)
def test_damage_is_no_traceback(file_format):
    content = packed(Image.fromarray(COLOURS), file_format)
    for damaged in [b"", b"text", *(content[: len(content) * part // 8] for part in range(1, 5))]:
        with pytest.raises(UnreadableError):
            pixels(damaged, 32)
    for _ in range(100):
        spoilt = bytearray(content)
        for place in RNG.integers(0, min(len(spoilt), 200), 4):
            spoilt[place] = RNG.integers(256)
        with suppress(UnreadableError):  # or it is still an image, though another one
            assert pixels(bytes(spoilt), 32).shape == (3, 32, 32)


def test_an_image_that_is_too_large_is_not_unpacked():
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", 20_000, 10_000, 1, 0, 0, 0, 0), b"IDAT"]
    framed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    content = b"".join([b"\x89PNG\r\n\x1a\n", *framed])
    with pytest.raises(UnreadableError, match="too many pixels"):
        pixels(content, 32)


def tiff(values: np.ndarray, bits: int, photometric: int) -> bytes:
    """Return a plain grey TIFF [32, 32] of so many bits a sample; 0 is black if `photometric` is 1."""
    if bits == 16:
        data = values.astype("<u2").tobytes()
    else:
        flat = values.astype(np.uint32).reshape(-1, 2)
        both = (flat[:, 0] << 12) | flat[:, 1]
        data = b"".join(int(pair).to_bytes(3, "big") for pair in both)
    tags = [(256, 32), (257, 32), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 32)]
    tags.append((279, len(data)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_12_bits_are_scaled_to_8_by_their_range():
    values = np.linspace(0, 4095, 32 * 32).astype(int).reshape(32, 32)
    assert np.array_equal(grey(tiff(values, 12, 1)), np.rint(values * (255 / 4095)))


def test_where_zero_is_white_it_stays_white():
    found = grey(tiff(RAMP.astype(np.uint16), 16, 0))
    assert np.array_equal(found, 255 - np.rint(RAMP.astype(np.uint16) / 257))
    with pytest.raises(UnreadableError):  # which Pillow does not read
        pixels(tiff(RAMP // 16, 12, 0), 32)


def test_the_transparent_grey_of_16_bits_shows_the_backdrop():
    values = RAMP.astype(np.uint16)
    found = grey(packed(Image.fromarray(values), transparency=int(values[3, 3])))
    assert found[3, 3] == BACKDROP[0]
    assert found[3, 4] == np.rint(values[3, 4] / 257)
