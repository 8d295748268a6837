"""Shapes of a head that the parser lets through and that two servers could read differently."""

import pytest

from service.request_head import fault_in

HOST = (b"host", b"a.example:8000")


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        (b"GET", b"/", [HOST]),
        (b"GET", b"//x", [HOST]),
        (b"GET", b"/a?b=http://c/%00", [HOST]),
        (b"OPTIONS", b"*", [HOST]),
        (b"GET", b"http://a.example:8000/x", [HOST]),
        (b"GET", b"HTTP://A.EXAMPLE:8000", [HOST]),
        (b"POST", b"/", [HOST, (b"transfer-encoding", b"chunked")]),
        (b"POST", b"/", [HOST, (b"transfer-encoding", b"Chunked")]),
        (b"GET", b"/", [(b"host", b"[::1]:8000")]),
        (b"GET", b"/", [(b"host", b"127.0.0.1")]),
    ],
)
def test_what_is_plain_passes(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    assert fault_in(method, target, "1.1", headers) is None


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        (b"GET", b"*", [HOST]),
        (b"GET", b"/x#y", [HOST]),
        (b"GET", b"x", [HOST]),
        (b"GET", b"http://b.example/", [HOST]),
        (b"GET", b"http://a.example:8000@b.example/", [HOST]),
        (b"GET", b"ftp://a.example:8000/", [HOST]),
        (b"CONNECT", b"a.example:8000", [HOST]),
        (b"CONNECT", b"/", [HOST]),
        (b"GET", b"/", []),
        (b"GET", b"/", [HOST, HOST]),
        (b"GET", b"/", [(b"host", b"")]),
        (b"GET", b"/", [(b"host", b"a b")]),
        (b"GET", b"/", [(b"host", b"a, b")]),
        (b"GET", b"/", [(b"host", b"a@b")]),
        (b"GET", b"/", [(b"host", b"a/b")]),
        (b"GET", b"/", [(b"host", b"a:x")]),
        (b"GET", b"/", [(b"host", b"a:8000:8000")]),
        (b"GET", b"/", [(b"host", b"[::1")]),
        (b"GET", b"/", [(b"host", b"\xff")]),
        (b"POST", b"/", [HOST, (b"transfer-encoding", b"gzip, chunked")]),
        (b"POST", b"/", [HOST, (b"transfer-encoding", b"chunked, chunked")]),
        (b"POST", b"/", [HOST, (b"transfer-encoding", b"xchunked")]),
        (b"POST", b"/", [HOST, (b"transfer-encoding", b"identity")]),
        (b"POST", b"/", [HOST, (b"transfer-encoding", b"")]),
    ],
)
def test_what_can_be_read_in_two_ways_is_a_fault(
    method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    fault = fault_in(method, target, "1.1", headers)
    assert fault is not None
    assert fault.status == 400


def test_http_1_0_needs_no_host_and_has_no_chunks() -> None:
    assert fault_in(b"GET", b"/", "1.0", []) is None
    assert fault_in(b"POST", b"/", "1.0", [(b"transfer-encoding", b"chunked")]) is not None


@pytest.mark.parametrize("version", ["0.9", "2.0"])
def test_other_versions_are_faults(version: str) -> None:
    assert fault_in(b"GET", b"/", version, [HOST]) is not None
