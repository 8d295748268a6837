"""`Range` of RFC 9110: which bytes of a file a client asks for."""

import re

MAX_RANGES = 16  # more than any reader needs; an attacker would ask for thousands
_RANGE = re.compile(r"[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII)
Range = tuple[int, int]  # from the first byte to before the second


class Unsatisfiable(ValueError):
    """No range has a byte of the file."""


def parse_ranges(header: str, size: int) -> list[Range] | None:
    """In the client's order, but joined where they overlap or touch. None: the header is to be ignored."""
    unit, _, listed = header.partition("=")
    words = [word for word in listed.split(",") if word.strip()]
    if unit.strip().lower() != "bytes" or not words or len(words) > MAX_RANGES:
        return None
    ranges: list[Range] = []
    for word in words:
        found = _RANGE.fullmatch(word)
        if found is None or not (found[1] or found[2]) or (found[1] and found[2] and int(found[1]) > int(found[2])):
            return None
        one = bounded(found[1], found[2], size)
        if one[0] < one[1]:
            add(ranges, one)
    if not ranges:
        raise Unsatisfiable
    return ranges


def bounded(first: str, last: str, size: int) -> Range:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def add(ranges: list[Range], one: Range) -> None:
    """Asking for the same bytes many times must not make the answer longer than the file."""
    for index, (start, stop) in enumerate(ranges):
        if one[0] <= stop and start <= one[1]:
            del ranges[index]
            add(ranges, (min(start, one[0]), max(stop, one[1])))
            return
    ranges.append(one)
