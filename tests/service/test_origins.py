"""Which origins may call."""

import pytest

from service.origins import Origins, is_origin

LISTED = Origins(("http://localhost:3000", "https://App.example.com"))
EVERY = Origins(("*",))


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://app.example.com", "HTTPS://APP.example.com"])
def test_a_listed_origin_is_listed_in_any_case(origin: str) -> None:
    assert LISTED.is_listed(origin)


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "http://localhost", "http://localhost:3001", "https://localhost:3000", "http://evil.example"),
        *("http://localhost:3000.evil.example", "http://evil.example/http://localhost:3000", "localhost:3000"),
    ],
)
def test_whatever_else_looks_like_it_is_not(origin: str) -> None:
    assert not LISTED.is_listed(origin)
    assert not LISTED.may_call(origin, "127.0.0.1:8000")


def test_null_is_listed_by_its_name_or_not_at_all() -> None:
    assert Origins(("null",)).is_listed("null")
    assert EVERY.is_listed("https://any.example")
    assert not EVERY.is_listed("null")
    assert Origins(("*", "null")).is_listed("null")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://localhost", "localhost:80"),
        ("https://api.example.com", "api.example.com"),
        ("https://api.example.com", "API.example.com:443"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_a_page_of_the_service_may_call_it(origin: str, host: str) -> None:
    assert LISTED.may_call(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [("http://localhost:8001", "localhost:8000"), ("null", "null"), ("", ""), ("http://", ""), ("x://a", "a:80")],
)
def test_a_neighbour_of_the_service_may_not(origin: str, host: str) -> None:
    if origin != "x://a":
        assert not LISTED.may_call(origin, host)
    else:  # no port is the default one of a scheme that we do not know
        assert not LISTED.may_call(origin, host)


@pytest.mark.parametrize(
    "text", ["http://a/", "http://a/b", "a", "http://", "http://a:123456", "http://a b", "//a", ""]
)
def test_what_is_no_origin_is_seen(text: str) -> None:
    assert not is_origin(text)


@pytest.mark.parametrize("text", ["*", "null", "http://a", "https://a.example:8443", "http://[::1]:3000", "app+x://a"])
def test_what_is_an_origin_passes(text: str) -> None:
    assert is_origin(text)
