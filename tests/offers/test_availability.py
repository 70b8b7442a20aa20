"""The past of the book on a grid of ticks."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from offers.availability import MANY, past
from offers.models import Offer, PriceSample
from tests.conftest import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def h100():
    return Offer.objects.create(
        provider="verda", region="fin-01", machine_type="8H100", market="spot", accelerator="H100-SXM", family="H100",
        accelerators=8, usd_per_hour=16, usd_per_gpu_hour=2, changed_at=NOON, digest=1,
    )  # fmt: skip


def seen(offer, minutes, usd, **more):
    PriceSample.objects.create(offer=offer, seen_at=NOON - timedelta(minutes=minutes), usd_per_hour=usd, **more)


def of(offer, ticks=4):
    return past([offer.pk], now=NOON, tick_s=600, ticks=ticks)


def test_a_price_counts_from_when_it_was_seen_until_the_next(h100):
    seen(h100, 90, 10, available=3)
    seen(h100, 25, 12, available=0)
    seen(h100, 10, 11, available=2)

    known = of(h100)

    assert known.machines.tolist() == [[3, 3, 0, 2]]
    assert known.usd_per_hour.tolist() == [[10, 10, 12, 11]]


def test_before_it_was_seen_and_after_it_left_there_was_nothing(h100):
    seen(h100, 30, 10)
    seen(h100, 10, None)

    known = of(h100)

    assert known.machines.tolist() == [[0, MANY, MANY, 0]]
    assert np.isnan(known.usd_per_hour).tolist() == [[True, False, False, True]]


def test_what_its_provider_calls_sold_out_is_not_free(h100):
    seen(h100, 60, 10, stock=0)

    assert of(h100).machines.tolist() == [[0, 0, 0, 0]]


def test_an_offer_of_which_nothing_is_known_has_an_empty_row(h100):
    assert of(h100, ticks=2).machines.tolist() == [[0, 0]]
    assert past([], now=NOON, tick_s=600, ticks=2).machines.shape == (0, 2)
