"""Whose address counts behind proxies."""

import pytest

from service.proxies import MAX_HOPS, Proxies

DECLARED = Proxies(("10.0.0.7", "10.1.0.0/16", "2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),  # nobody declared the peer
        ("10.0.0.7", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.7", "1.2.3.4, 203.0.113.9", "203.0.113.9"),  # the left one came from the client
        ("10.0.0.7", "1.2.3.4, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("10.0.0.7", "10.1.2.3, 203.0.113.9", "203.0.113.9"),  # a proxy's address, forged
        ("10.0.0.7", "10.1.2.3", "10.1.2.3"),  # a proxy asks for itself
        ("10.0.0.7", "nonsense, 10.1.2.3", "10.1.2.3"),
        ("10.0.0.7", "nonsense", "10.0.0.7"),
        ("10.0.0.7", "", "10.0.0.7"),
        ("::ffff:10.0.0.7", "203.0.113.9", "203.0.113.9"),
        ("2001:db8::1", "2001:db9::5", "2001:db9::5"),
        ("testclient", "203.0.113.9", "testclient"),
    ],
)
def test_only_what_declared_hops_add_is_believed(peer: str, forwarded: str, client: str) -> None:
    assert DECLARED.client_of(peer, forwarded) == client


def test_a_chain_without_end_is_read_to_a_bound() -> None:
    chain = ", ".join(["203.0.113.9"] + ["10.1.0.1"] * 100_000)
    assert DECLARED.client_of("10.0.0.7", chain) == "10.1.0.1"
    assert DECLARED.client_of("10.0.0.7", ", ".join(["203.0.113.9"] + ["10.1.0.1"] * (MAX_HOPS - 1))) == "203.0.113.9"


def test_what_is_no_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="proxy"):
        Proxies(("proxy",))
