#!/usr/bin/env python3
"""Remakes this folder's files from MNIST's test set: make.py FOLDER-WITH-T10K-FILES

Every fifth image (the 5th, 10th, ...) becomes a test image, the others training images, in their order. The first half
of MNIST's test set is easier than the second; both halves of the split have the same share of either, and of each digit.
Needs nothing but Python 3. The archives carry no time and no name, so the same zlib gives the same bytes.
"""

import gzip
import pathlib
import struct
import sys


def read(folder, name, magic):
    """The dimensions and items of an idx file of bytes, plain or gzipped."""
    plain, packed = folder / name, folder / (name + ".gz")
    data = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    rank = magic & 0xFF
    found, *dims = struct.unpack_from(f">{1 + rank}I", data)
    assert found == magic, f"{name}: magic number {found:#x}, expected {magic:#x}"
    body = data[4 + 4 * rank :]
    size = len(body) // dims[0]
    return dims, [body[i * size : (i + 1) * size] for i in range(dims[0])]


def write(name, magic, dims, items):
    """Writes items as a gzipped idx file beside this script."""
    data = struct.pack(f">{1 + len(dims)}I", magic, len(items), *dims[1:]) + b"".join(items)
    path = pathlib.Path(__file__).parent / (name + ".gz")
    path.write_bytes(gzip.compress(data, compresslevel=9, mtime=0))


def main():
    folder = pathlib.Path(sys.argv[1])
    for kind, magic in (("images-idx3-ubyte", 0x803), ("labels-idx1-ubyte", 0x801)):
        dims, items = read(folder, "t10k-" + kind, magic)
        write("test-" + kind, magic, dims, items[4::5])
        write("train-" + kind, magic, dims, [item for i, item in enumerate(items) if i % 5 != 4])


main()
