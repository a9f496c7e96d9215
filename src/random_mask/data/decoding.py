"""From the content of an image file to pixels: what is read of it, what is scaled, what is refused.

`docs/data.md` says the same to those who bring their own images.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

__all__ = ["FORMATS", "UnreadableError", "pixels"]

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened, by content and not by name. Others, such as EPS, would start programs of their own."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by the EXIF tag of how the camera was held; 1 is upright."""

BACKDROP = (128, 128, 128)
"""What shows through transparent pixels: a grey on which neither white nor black drawings vanish."""


class UnreadableError(Exception):
    """Why a file is no image that can be read."""


def pixels(content: bytes, size: int) -> np.ndarray:
    """Return the first picture of an image file, upright, as RGB on a grey backdrop, resized bilinearly.

    Args:
        content: the bytes of the file.
        size: height and width of the result.

    Returns:
        uint8 [3, size, size].

    Raises:
        UnreadableError: if it is no image of `FORMATS`, or damaged, too large, or of an unknown range.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
            rgb = _rgb(_upright(image), image.format)
    except UnreadableError:
        raise
    except Image.DecompressionBombError:
        raise UnreadableError("has too many pixels to be unpacked; make it smaller") from None
    except Exception:  # decoders raise whatever they stumble over
        raise UnreadableError("") from None
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(rgb).transpose(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = UPRIGHT.get(image.getexif().get(Base.Orientation, 1))
    except Exception:  # its notes are damaged, and not the image
        turn = None
    return image if turn is None else image.transpose(turn)


def _range(image: Image.Image) -> tuple[int, bool]:
    """Return the largest value of a grey TIFF image of more than 8 bits, and whether it stands for black."""
    tags = getattr(image, "tag_v2", {})
    bits, shown = tags.get(Base.BitsPerSample, 16), tags.get(Base.PhotometricInterpretation, 1)
    return 2 ** (bits[0] if isinstance(bits, tuple) else bits) - 1, shown == 0


def _rgb(image: Image.Image, file_format: str | None) -> Image.Image:
    """Return an image in RGB; 16 bits, or 12, are scaled to 8."""
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format in ("PNG", "PPM")):
        values = np.asarray(image)
        white, inverted = _range(image) if file_format == "TIFF" else (65535, False)
        grey = np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8)
        if inverted:
            grey = 255 - grey
        if isinstance(transparent := image.info.get("transparency"), int):
            grey[values == transparent] = BACKDROP[0]
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("I", "F"):
        kind = {"I": "signed or 32-bit integers", "F": "floating-point numbers"}[image.mode]
        raise UnreadableError(f"has {kind}, whose range is not known; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (*BACKDROP, 255)), image).convert("RGB")
    return image.convert("RGB")
