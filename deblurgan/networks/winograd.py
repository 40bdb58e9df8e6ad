"""Convolution by Winograd's minimal filtering: a quarter of the multiplications.

Winograd, "Arithmetic Complexity of Computations", 1980; for networks: Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", CVPR 2016. A tile of 6x6 pixels gives m x m outputs of an r x r kernel, m + r = 7,
through 36 products for each pair of channels; the definition takes (m r)^2, 144 for 3x3 as for 4x4 kernels. Tile and
kernel are seen as polynomials: evaluated at 6 points, multiplied there, and the outputs interpolated.
"""

import functools
import operator
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

POINTS = (0, 1, -1, 2, -2)
"""Where polynomials are evaluated, beside infinity: small numbers keep rounding errors small."""
TILE = len(POINTS) + 1
"""Height and width of a tile."""
PAIRS = np.array(
    [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, -1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, -1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
)
"""Even and odd part of a polynomial to its values at a point and at its negative: each part is computed once."""
PAIRS_UNDONE = np.linalg.inv(PAIRS)
CHANNELS = 128
"""Convolutions with fewer, in or out, gain little or lose: the way to the points and back takes what products save."""


def matrices(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices that make one-dimensional filtering products of numbers: `out (kernel taps * into pixels)`.

    Parameters
    ----------
    size
        Taps of the kernel, r.

    Returns
    -------
    into, taps, out
        For the pixels of a tile, (6, 6); for the kernel, (6, r); and back to the outputs, (7 - r, 6).
    """
    into, taps = np.zeros((TILE, TILE)), np.zeros((TILE, size))
    into[-1], taps[-1, -1] = np.poly(POINTS)[::-1], 1
    for i, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        into[i, :-1] = np.poly(others)[::-1]
        taps[i] = np.power(float(point), range(size)) / np.prod([point - other for other in others])
    out = np.stack([np.power([*map(float, POINTS), 0], power) for power in range(TILE + 1 - size)])
    out[0, -1], out[-1, -1] = 0, 1
    return into, taps, out


def _combined(matrix: np.ndarray, parts: list) -> list:
    """The products of a constant matrix with a column of tensors; zeros and ones cost nothing."""
    results = []
    for row in matrix:
        total = None
        for factor, part in zip(row, parts, strict=True):
            if factor == -1 and total is not None:
                total = total - part
            elif factor:
                term = part if factor == 1 else part * float(factor)
                total = term if total is None else total + term
        results.append(total)
    return results


def _evaluated(matrix: np.ndarray, parts: list):
    """Values at the points, stacked, of polynomials whose coefficients are tensors: (6, ...)."""
    return ops.stack(_combined(PAIRS, _combined(PAIRS_UNDONE @ matrix, parts)))


def _at_points(matrix: np.ndarray, images, grid: tuple[int, int], step: int):
    """Evaluate tiles of (N, H, W, C), one at every `step` pixels of a grid: (36, N rows columns, C).

    Tiles are larger than a step and overlap. Cut into blocks of `step` pixels, pixel p of a tile is pixel p modulo
    `step` of the block that lies p // `step` further on: views of one array, where tiles of their own would be copies.
    """
    rows, columns = grid
    height, width, channels = images.shape[1:]
    pixels = [divmod(p, step) for p in range(matrix.shape[1])]  # of a tile, along a side: (block, place in the block)
    further = pixels[-1][0]  # blocks that the last tile reaches into
    down, right = rows + further, columns + further
    images = ops.pad(images, ((0, 0), (0, down * step - height), (0, right * step - width), (0, 0)))
    blocks = ops.reshape(images, (-1, down, step, right, step, channels))  # N, block, y, block, x, C
    across = [blocks[:, :, :, block : block + columns, x] for block, x in pixels]  # each N, block, y, columns, C
    lines = _evaluated(matrix, across)  # 6, N, block, y, columns, C
    along = [lines[:, :, block : block + rows, y] for block, y in pixels]  # each 6, N, rows, columns, C
    points = _evaluated(matrix, along)  # 6, 6, N, rows, columns, C
    return ops.reshape(points, (TILE * TILE, -1, channels))


def _interpolated(matrix: np.ndarray, parts: list, axis: int, step: int):
    """Pixels of tiles from their values at the points, summed where tiles overlap: (step, ...).

    Along `axis` of the tensors are the tiles, which become blocks: one more for each block that a tile reaches into.
    """
    pixels = _combined(matrix @ PAIRS_UNDONE, _combined(PAIRS, parts))
    further = (len(pixels) - 1) // step

    def placed(p: int):
        """Pixel p of all tiles at the blocks in which it lies."""
        around = [(0, 0)] * len(pixels[p].shape)
        around[axis] = (p // step, further - p // step)
        return ops.pad(pixels[p], around) if further else pixels[p]

    same_place = [map(placed, range(place, len(pixels), step)) for place in range(step)]
    return ops.stack([functools.reduce(operator.add, tiles) for tiles in same_place])


def _from_points(matrix: np.ndarray, values, grid: tuple[int, int], step: int):
    """The adjoint of `_at_points` with the transposed matrix: tiles are interpolated, and added where they overlap."""
    (rows, columns), channels = grid, values.shape[-1]
    values = ops.reshape(values, (TILE, TILE, -1, rows, columns, channels))  # y and x of points, N, rows, columns, C
    lines = _interpolated(matrix, [values[i] for i in range(TILE)], 2, step)  # y, 6, N, block, columns, C
    tiles = _interpolated(matrix, [lines[:, i] for i in range(TILE)], 3, step)  # x, y, N, block, block, C
    down, right = tiles.shape[3:5]
    images = ops.transpose(tiles, (2, 3, 1, 4, 0, 5))  # N, block, y, block, x, C
    return ops.reshape(images, (-1, down * step, right * step, channels))


def convolve(images, kernel):
    """Convolve without padding, as `ops.conv` does with `padding="valid"`; can be differentiated any number of times.

    Parameters
    ----------
    images
        (N, H, W, C); height, width and channels are static.
    kernel
        (r, r, C, F), r from 2 to 5; the fewest multiplications are at 3 and 4.

    Returns
    -------
    Tensor
        (N, H - r + 1, W - r + 1, F). In float32 the error is about 2e-6 of the standard deviation, ten times the usual.
    """
    images = ops.convert_to_tensor(images)
    return _convolve(images, ops.cast(kernel, images.dtype))  # what was a variable is a tensor now, as TensorFlow wants


@ops.custom_gradient
def _convolve(images, kernel):
    size = kernel.shape[0]
    height, width = (side - size + 1 for side in images.shape[1:3])
    into, _, out = matrices(size)
    grid = _grid(height, width, len(out))
    products = _at_points(into, images, grid, len(out)) @ _weights(kernel)
    outputs = _from_points(out, products, grid, len(out))[:, :height, :width]

    def gradient(upstream):
        upstream = ops.reshape(upstream, (-1, *outputs.shape[1:]))  # TensorFlow may have forgotten its shape
        return _convolve_adjoint(upstream, kernel), _kernel(images, upstream)

    return outputs, gradient


@ops.custom_gradient
def _convolve_adjoint(outputs, kernel):
    """Give each pixel the outputs that it is part of, times the taps between them."""
    size = kernel.shape[0]
    height, width = (side + size - 1 for side in outputs.shape[1:3])
    into, _, out = matrices(size)
    grid = _grid(outputs.shape[1], outputs.shape[2], len(out))
    products = _at_points(out.T, outputs, grid, len(out)) @ ops.transpose(_weights(kernel), (0, 2, 1))
    images = _from_points(into.T, products, grid, len(out))[:, :height, :width]

    def gradient(upstream):
        upstream = ops.reshape(upstream, (-1, *images.shape[1:]))
        return _convolve(upstream, kernel), _kernel(upstream, outputs)

    return images, gradient


def _kernel(images, outputs):
    """Give each tap the sum of the products of all pixels and outputs that it is between."""
    size = images.shape[1] - outputs.shape[1] + 1
    into, taps, out = matrices(size)
    grid = _grid(outputs.shape[1], outputs.shape[2], len(out))
    pixels = ops.transpose(_at_points(into, images, grid, len(out)), (0, 2, 1))
    products = pixels @ _at_points(out.T, outputs, grid, len(out))
    kernel = ops.cast(np.kron(taps, taps).T, products.dtype) @ ops.reshape(products, (TILE * TILE, -1))
    return ops.reshape(kernel, (size, size, *products.shape[1:]))


def _weights(kernel):
    """Evaluate a kernel (r, r, C, F): (36, C, F)."""
    size, _, inputs, filters = kernel.shape
    _, taps, _ = matrices(size)
    weights = ops.cast(np.kron(taps, taps), kernel.dtype) @ ops.reshape(kernel, (size * size, -1))
    return ops.reshape(weights, (TILE * TILE, inputs, filters))


def _grid(height: int, width: int, step: int) -> tuple[int, int]:
    """How many tiles give all outputs."""
    return -(-height // step), -(-width // step)


def speed_up(network: keras.Model) -> None:
    """Have those convolutions of a network computed so that gain by it; they are what they were in a saved model."""
    for layer in network.layers:
        if type(layer) is layers.Conv2D and gains(layer):
            layer.convolution_op = functools.partial(_convolved, layer, layer.convolution_op)


def gains(layer: layers.Conv2D) -> bool:
    """Whether a convolution is faster in this way, on CPUs."""
    plain = layer.strides == layer.dilation_rate == (1, 1) and layer.groups == 1
    fits = layer.kernel_size in ((3, 3), (4, 4)) and layer.data_format == "channels_last"
    return plain and fits and layer.compute_dtype == "float32" and min(layer.kernel.shape[2:]) >= CHANNELS


def _convolved(layer: layers.Conv2D, otherwise: Callable, images, kernel):
    """Convolve as a layer's own `convolution_op` does, which is `otherwise`; it serves where sizes are not known."""
    if None in images.shape[1:]:
        return otherwise(images, kernel)
    if layer.padding == "same":
        padding = ((layer.kernel_size[0] - 1) // 2, layer.kernel_size[0] // 2)
        images = ops.pad(images, ((0, 0), padding, padding, (0, 0)))
    return convolve(images, kernel)
