"""Damage to files: bytes anywhere, numbers in binary headers, words in text headers. Each is a function of a seed."""

from __future__ import annotations

import gzip
import random
import re
import struct

_NUMBERS = (b"0", b"-1", b"1", b"2", b"3", b"255", b"4294967296", b"99999999999999999999", b"-2147483648", b"1e308",
            b"-1e308", b"1e-300", b"nan", b"inf", b"-inf", b"", b"0x10", b"1;2", b"16.5")  # fmt: skip
_WORDS = (b"/etc/passwd", b"../../outside", b"LIST", b"LOCAL", b"%s%s%n", b"A" * 5000, b"\x00", b"\xff\xfe", b"\n\n",
          b"gzip", b"raw", b"double", b"MET_FLOAT", b"True", b"False", b"none", b"left-posterior-superior")  # fmt: skip
_INTEGERS = (0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 1024, 32767, -1, -2, -32768, 65535, 2**31 - 1, -(2**31))


def mutated(data: bytes, seed: int) -> bytes:
    """One to four kinds of damage; gzip files are mostly damaged inside."""
    rng = random.Random(seed)
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.75:
        return gzip.compress(_several(gzip.decompress(data), rng), 1, mtime=0)
    return _several(data, rng)


def _several(data: bytes, rng: random.Random) -> bytes:
    text = data[:512].count(0) < 10  # the start of NRRD and MetaImage, tables, JSON
    kinds = (_number_in_text, _word_in_text, _line, _byte, _chunk) if text else (_binary_number, _byte, _chunk)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(kinds)(data, rng)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    """A position, mostly in the first half kilobyte."""
    limit = len(data) if rng.random() < 0.2 else min(len(data), 512)
    return rng.randrange(max(limit, 1))


def _byte(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        if changed:
            changed[_place(data, rng)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(changed)


def _binary_number(data: bytes, rng: random.Random) -> bytes:
    kind = rng.choice("<h <i <q <f <d >h >i >f".split())
    if kind[1] in "fd":
        value = struct.pack(kind, rng.choice((0.0, -1.0, 1e30, -1e30, 1e-30, float("nan"), float("inf"), 352.0, 1e9)))
    else:
        limit = 1 << (8 * struct.calcsize(kind) - 1)
        value = struct.pack(kind, max(-limit, min(limit - 1, rng.choice(_INTEGERS))))
    at = _place(data, rng) // 2 * 2
    return data[:at] + value + data[at + len(value) :]


def _match_in_text(data: bytes, rng: random.Random, pattern: bytes, others: tuple[bytes, ...]) -> bytes:
    head, rest = data[:1024], data[1024:]
    found = list(re.finditer(pattern, head))
    if not found:
        return _byte(data, rng)
    match = rng.choice(found)
    return head[: match.start()] + rng.choice(others) + head[match.end() :] + rest


def _number_in_text(data: bytes, rng: random.Random) -> bytes:
    return _match_in_text(data, rng, rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", _NUMBERS)


def _word_in_text(data: bytes, rng: random.Random) -> bytes:
    return _match_in_text(data, rng, rb"[A-Za-z_./]{2,}", _WORDS)


def _line(data: bytes, rng: random.Random) -> bytes:
    """A line removed, doubled or moved, or one that names another file."""
    head, rest = data[:1024], data[1024:]
    lines = head.split(b"\n")
    at = rng.randrange(len(lines))
    what = rng.randrange(4)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif what == 2:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines.insert(at, rng.choice((b"data file: /etc/hostname", b"ElementDataFile = /etc/hostname", b"datafile: LIST",
                                     b"byte skip: -1", b"HeaderSize = -1", b"CompressedDataSize = 1")))  # fmt: skip
    return b"\n".join(lines) + rest


def _chunk(data: bytes, rng: random.Random) -> bytes:
    """Cut off, cut out, doubled, or with other bytes put in."""
    at, length = _place(data, rng), rng.choice((1, 4, 16, 100, 1000))
    what = rng.randrange(4)
    if what == 0:
        return data[: rng.randrange(len(data) + 1)]
    if what == 1:
        return data[:at] + data[at + length :]
    if what == 2:
        return data[:at] + data[at : at + length] + data[at:]
    return data[:at] + rng.randbytes(length) + data[at:]
