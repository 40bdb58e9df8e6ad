"""Colour profiles that are made: ICC.1:2010 (version 4), three primaries and sRGB's curve."""

import struct

import numpy as np

D65, D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)
"""The white of screens, as x and y; the white that profiles refer to, as X, Y and Z."""
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""From XYZ to the cones in which one white is adapted to another white: ICC.1:2010, annex E."""
CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""sRGB's curve as a parametric one of type 3: g, a, b, c, d."""
HEADER, ENTRY = 128, 12
"""Bytes of a profile's header, and of a tag in its table."""


def profile(name: str, primaries: tuple[tuple[float, float], ...]) -> bytes:
    """Make the profile of a screen.

    Parameters
    ----------
    name
        What it is called.
    primaries
        x and y of red, green and blue; white is D65.

    Returns
    -------
    bytes
        The same for the same arguments: it has no date.
    """
    adapted = _adaptation()
    colorants = adapted @ _rgb_to_xyz(primaries)
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(*CURVE)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": _xyz(D50),
        b"chad": b"sf32" + bytes(4) + _fixed(*adapted.ravel()),
        **{tag: _xyz(column) for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants.T, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, data = struct.pack(">I", len(tags)), b""
    start = HEADER + len(table) + ENTRY * len(tags)
    for tag, value in tags.items():
        table += tag + struct.pack(">II", start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = struct.pack(">I4xI", start + len(data), 0x04200000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    header = header.ljust(68, b"\0") + _fixed(*D50)
    return header.ljust(HEADER, b"\0") + table + data


def _rgb_to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """The matrix whose columns are the XYZ of full red, green and blue, which add up to white: (3, 3)."""
    columns = np.stack([_xyz_of(point) for point in primaries], axis=1)
    return columns * np.linalg.solve(columns, _xyz_of(D65))


def _adaptation() -> np.ndarray:
    """From XYZ under D65 to XYZ under D50: (3, 3)."""
    scale = (BRADFORD @ D50) / (BRADFORD @ _xyz_of(D65))
    return np.linalg.solve(BRADFORD, scale[:, None] * BRADFORD)


def _xyz_of(point: tuple[float, float]) -> np.ndarray:
    """XYZ of luminance 1 of x and y: (3,)."""
    x, y = point
    return np.array([x / y, 1, (1 - x - y) / y])


def _fixed(*values: float) -> bytes:
    """Numbers as signed 16.16 fixed point."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(values: np.ndarray | tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _text(text: str) -> bytes:
    """A text in one language, English."""
    data = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(data), 28) + data
