"""Price lists -> the offer book. A price list that fails keeps its last page."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from decimal import Decimal

from django.db import transaction

from offers import gpus
from offers.models import Offer, PriceSample
from providers.base import Listing, PriceList, ProviderError

logger = logging.getLogger(__name__)
BATCH = 2000
MICRO = Decimal("0.000001")
KEY = ("provider", "region", "zone", "machine_type", "market")
NEWS = ["country", "accelerator", "vendor", "accelerators", "memory_gib", "vcpus", "ram_gib", "usd_per_hour",
        "usd_per_gpu_hour", "seen_at"]  # fmt: skip
LONGEST = {"provider": 32, "region": 64, "zone": 64, "machine_type": 96, "accelerator": 64}


def poll(price_list: PriceList) -> int:
    """Refresh one price list's lines and return how many were seen; 0 when it did not answer."""
    try:
        listings = list(price_list.listings())
    except ProviderError as error:
        logger.warning("offers.poll-failed provider=%s error=%s", price_list.name, error)
        return 0
    return record(listings)


@transaction.atomic
def record(listings: Iterable[Listing]) -> int:
    """Upsert the offers, append a PriceSample where a price is new, and return how many offers that were."""
    newest = {_key(listing): listing for listing in listings}
    offers = [offer for listing in newest.values() if (offer := _offer(listing)) is not None]
    prices: dict[tuple[str, ...], Decimal] = {}
    for provider in {offer.provider for offer in offers}:
        known = Offer.objects.filter(provider=provider).values_list(*KEY, "usd_per_hour")
        prices.update({row[:-1]: row[-1] for row in known})
    Offer.objects.bulk_create(
        offers, batch_size=BATCH, update_conflicts=True, unique_fields=list(KEY), update_fields=NEWS
    )
    _remember([offer for offer in offers if prices.get(_key(offer)) != offer.usd_per_hour])
    return len(offers)


def _remember(changed: list[Offer]) -> None:
    samples = [PriceSample(offer_id=o.pk, usd_per_hour=o.usd_per_hour, seen_at=o.seen_at) for o in changed]
    PriceSample.objects.bulk_create(samples, batch_size=BATCH)


def _key(line: Listing | Offer) -> tuple[str, ...]:
    return (line.provider, line.region, line.zone, line.machine_type, str(line.market))


def _offer(listing: Listing) -> Offer | None:
    name = gpus.named(listing.accelerator_label)
    for field, longest in LONGEST.items():
        text = name if field == "accelerator" else getattr(listing, field)
        if len(text) > longest or "\x00" in text:
            logger.warning("offers.row-refused provider=%s field=%s", listing.provider[:32], field)
            return None
    price = listing.usd_per_hour.quantize(MICRO)
    per_gpu = (price / listing.accelerator_count).quantize(MICRO)
    if price <= 0 or listing.accelerator_count < 1:
        return None
    chip = gpus.find(listing.accelerator_label)
    return Offer(
        provider=listing.provider,
        region=listing.region,
        zone=listing.zone,
        country=listing.country[:2].upper(),
        machine_type=listing.machine_type,
        market=str(listing.market),
        accelerator=name,
        vendor=gpus.vendor_of(listing.accelerator_label),
        accelerators=listing.accelerator_count,
        memory_gib=listing.memory_gib or (chip.memory_gib or None if chip else None),
        vcpus=listing.vcpus,
        ram_gib=listing.ram_gib,
        usd_per_hour=price,
        usd_per_gpu_hour=per_gpu,
        seen_at=listing.seen_at,
    )
