"""Which Host headers are answered, wherever the service listens."""

import pytest

from service.hosts import REMEMBERED, Hosts

LOCAL = Hosts((), bound_to="127.0.0.1", own_name="box.example")
OPEN = Hosts(("api.example.com", "*.apps.example.com"), bound_to="0.0.0.0", own_name="box.example")


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.1",
        b"127.0.0.1:8000",
        b"localhost",
        b"LOCALHOST:8000",
        b"localhost.",
        b"[::1]:8000",
        b"app.localhost:1",
    ],
)
def test_this_machine_has_its_own_names(host: bytes) -> None:
    assert LOCAL.answers_to(host)
    assert OPEN.answers_to(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            b"evil.example",
            b"evil.example:8000",
            b"localhost.evil.example",
            b"127.0.0.1.evil.example",
            b"evillocalhost",
        ),
        *(
            b"10.0.0.1",
            b"169.254.169.254",
            b"0x7f000001",
            b"2130706433",
            b"127.1",
            b"box.example",
            b"\xff",
            b"[fe80::1]",
        ),
        b"",
    ],
)
def test_on_loopback_every_other_name_is_refused(host: bytes) -> None:
    assert not LOCAL.answers_to(host)


@pytest.mark.parametrize(
    "host", [b"api.example.com", b"API.example.com:443", b"a.apps.example.com", b"a.b.apps.example.com", b"10.0.0.1:80",
             b"[2001:db8::1]", b"box.example", b"box:8000"],
)  # fmt: skip
def test_on_a_network_listed_names_addresses_and_its_own_name_are_answered(host: bytes) -> None:
    assert OPEN.answers_to(host)


@pytest.mark.parametrize("host", [b"evil.example", b"apps.example.com", b"xapi.example.com", b"api.example.com.evil"])
def test_on_a_network_too_every_other_name_is_refused(host: bytes) -> None:
    assert not OPEN.answers_to(host)


def test_a_star_answers_to_every_name() -> None:
    assert Hosts(("*",), bound_to="127.0.0.1").answers_to(b"evil.example")


def test_no_more_names_are_remembered_than_the_bound() -> None:
    hosts = Hosts((), bound_to="127.0.0.1")
    for number in range(10 * REMEMBERED):
        hosts.answers_to(b"%d.example" % number)
    assert hosts.answers_to.cache_info().currsize == REMEMBERED
