"""Protobuf bytes spoilt at random, without knowing their schema: what tests.providers.cloud.spoilt is for JSON."""

from __future__ import annotations

from random import Random
from typing import Any


def spoilt(raw: bytes, random: Random) -> bytes:
    """Return protobuf bytes with one field made junk, left out or doubled, at any depth; sometimes no protobuf."""
    if random.random() < 0.02:
        return random.randbytes(random.randrange(1, 40))
    parts = _parts(raw)
    if not parts:
        return raw
    at = random.randrange(len(parts))
    number, wire, value = parts[at]
    chance = random.random()
    if chance < 0.12:
        del parts[at]
    elif chance < 0.2:
        parts.append(parts[at])
    elif wire == 0:
        parts[at] = (number, 0, random.choice((0, 1, 7, 99, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**64 - 1)))
    elif wire == 2 and isinstance(value, bytes):
        deeper = _parts(value) if value else []
        if deeper and random.random() < 0.85:
            parts[at] = (number, 2, spoilt(value, random))
        else:
            junk = (b"", b"\x00", b"NaN", b"-1", b"1e999", b"x" * 400, "ひ".encode(), b"\xff\xfe", b"inf")
            parts[at] = (number, 2, random.choice(junk))
    return b"".join(_written(*part) for part in parts)


def _parts(raw: bytes) -> list[tuple[int, int, Any]]:
    """Split protobuf bytes into (field, wire type, value); nothing where they are none."""
    parts, at = [], 0
    try:
        while at < len(raw):
            tag, at = _varint(raw, at)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                value: Any
                value, at = _varint(raw, at)
            elif wire == 2:
                size, at = _varint(raw, at)
                value, at = raw[at : at + size], at + size
            else:
                return []
            if not number or at > len(raw):
                return []
            parts.append((number, wire, value))
    except IndexError:
        return []
    return parts


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _written(number: int, wire: int, value: Any) -> bytes:
    if wire == 0:
        return _bytes(number << 3) + _bytes(value)
    return _bytes(number << 3 | 2) + _bytes(len(value)) + value


def _bytes(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(out)
