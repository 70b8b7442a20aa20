from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

import pytest

from offers.matching.need import Need, NeedInvalid, parse, residencies

EVERYTHING = {
    "accelerator": ["H100", "A100-80GB"], "accelerators": 16, "min_accelerators_per_site": 4, "sites": 2,
    "max_sites": 3, "spread": "region", "min_memory_gib": 40, "interconnect": "infiniband", "offers": [3, 4],
    "providers": ["aws", "gcp"], "not_providers": ["azure"], "regions": ["a"], "not_regions": ["b"],
    "countries": ["DE"], "not_countries": ["US"],
    "residency": "EU", "markets": ["spot"], "tiers": ["own", "secure"], "prefer_own": True, "queue": True,
    "max_spot_share": 0.5, "samples": 10, "samples_per_s": 2.5, "program": "ab", "data_gib": 100,
    "checkpoint_gib": 0.5, "deadline_hours": 5,
    "chance": 0.95, "budget_usd": "5.10", "max_usd_per_hour": "20", "max_egress_usd": 1,
}  # fmt: skip


class TestParse:
    def test_reads_what_as_json_wrote(self):
        need = parse(EVERYTHING)

        assert parse(need.as_json()) == need
        assert need.budget_usd == Decimal("5.10")

    def test_knows_every_field(self):
        assert set(EVERYTHING) | {"accelerators_per_site"} == {field.name for field in fields(Need)}

    def test_reads_a_need_of_before(self):
        body = {"accelerator": "H100", "accelerators_per_site": 2, "sites": None, "samples": 10, "markets": ["spot"]}

        need = parse(body)

        assert (need.site_size, need.sizes, need.accelerator) == (2, range(1, 4), "H100")

    @pytest.mark.parametrize(
        ("body", "what"),
        [
            ([], "JSON object"),
            ({"gpu": "H100"}, "unknown field 'gpu'"),
            ({"sites": 0}, "sites must be"),
            ({"sites": 99}, "sites must be at most"),
            ({"sites": True}, "sites must be"),
            ({"samples": 1.5}, "samples must be a whole number"),
            ({"samples_per_s": -1}, "samples_per_s must be a positive"),
            ({"samples_per_s": float("nan")}, "samples_per_s must be a positive"),
            ({"budget_usd": "much"}, "budget_usd must be an amount"),
            ({"budget_usd": "NaN"}, "budget_usd must be a positive"),
            ({"offers": []}, "offers must be a list of 1 to 100"),
            ({"offers": [1] * 101}, "offers must be a list of 1 to 100"),
            ({"offers": ["1"]}, "offers must be a whole number"),
            ({"regions": []}, "regions must be a list"),
            ({"regions": "here"}, "regions must be a list"),
            ({"accelerator": ""}, "accelerator must be a short text"),
            ({"accelerator": []}, "accelerator must be a list"),
            ({"accelerators": 10**6}, "accelerators must be at most"),
            ({"residency": "Mars"}, "residency must be one of EU, EEA, GDPR, not 'Mars'"),
            ({"spread": "planet"}, "spread must be one of provider, region, country"),
            ({"tiers": ["mine"]}, "tiers must be one of own, secure, community"),
            ({"prefer_own": 1}, "prefer_own must be true or false"),
            ({"max_spot_share": 1.1}, "max_spot_share must be a number from 0 to 1"),
            ({"chance": 1, "deadline_hours": 1}, "chance must be above 0 and below 1"),
            ({"chance": 0.9}, "chance is that of meeting deadline_hours"),
            ({"accelerators": 4, "accelerators_per_site": 2}, "exclude each other"),
            ({"accelerators": 2, "sites": 3}, "accelerators must be at least 3"),
            ({"sites": 3, "max_sites": 2}, "sites is 3, but max_sites is 2"),
            ({"prefer_own": True, "tiers": ["secure"]}, "prefer_own needs the tier own"),
        ],
    )
    def test_says_which_field_is_wrong(self, body, what):
        with pytest.raises(NeedInvalid, match=what):
            parse(body)

    def test_takes_words_in_any_case(self):
        need = parse({"residency": "eea", "spread": "Country", "tiers": ["OWN"]})

        assert (need.residency, need.spread, need.tiers) == ("EEA", "country", ("own",))


class TestNeed:
    def test_a_family_means_every_variant_and_a_variant_itself(self):
        assert Need(accelerator="H100").chips == {"h100-sxm", "h100-pcie", "h100-nvl"}
        assert Need(accelerator=("H100 PCIe", "T4")).chips == {"h100-pcie", "t4"}
        assert Need().chips == frozenset()

    def test_a_site_has_what_is_asked_of_it_at_least(self):
        assert Need().site_size == 1
        assert Need(accelerators_per_site=4, min_accelerators_per_site=8).site_size == 8
        assert Need(accelerators=16, min_accelerators_per_site=2).site_size == 2

    def test_compares_up_to_three_sites_unless_it_says_otherwise(self):
        assert list(Need().sizes) == [1, 2, 3]
        assert list(Need(max_sites=5).sizes) == [1, 2, 3, 4, 5]
        assert list(Need(sites=4).sizes) == [4]


def test_the_union_lies_within_the_economic_area_and_that_within_what_counts_as_adequate():
    groups = residencies()

    assert len(groups["EU"]) == 27
    assert groups["EU"] < groups["EEA"] < groups["GDPR"]
    assert {"NO", "CH"} & groups["EEA"] == {"NO"}
    assert "US" not in groups["GDPR"]
