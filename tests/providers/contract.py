"""What every adapter must prove. Subclass it, give it a `provider` and an `order`, and it is tested."""

from __future__ import annotations

import pytest

from providers.base import LaunchOrder, Provider


class ProviderContract:
    @pytest.fixture
    def provider(self) -> Provider:
        raise NotImplementedError

    @pytest.fixture
    def order(self) -> LaunchOrder:
        raise NotImplementedError

    def test_listings_are_priced_and_counted(self, provider):
        lines = list(provider.listings())

        assert lines
        for listing in lines:
            assert listing.provider == provider.name
            assert listing.usd_per_hour > 0, listing
            assert listing.accelerator_count > 0, listing
            assert listing.seen_at.tzinfo is not None, listing

    def test_the_same_key_buys_one_machine(self, provider, order):
        provider.launch(order)
        provider.launch(order)

        assert [machine.key for machine in provider.machines()] == [order.key]

    def test_terminating_twice_is_terminating_once(self, provider, order):
        provider.launch(order)

        provider.terminate(order.key)
        provider.terminate(order.key)

        assert not list(provider.machines())
