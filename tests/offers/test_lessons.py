"""What became of machines is remembered, and hazards are learnt from it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from offers import lessons
from offers.matching.hazard_prior import Line
from offers.matching.survival import AGES_S
from offers.models import Offer, PriceSample, Spell
from tests.conftest import NOON

pytestmark = pytest.mark.django_db
LINE = Line(key=("verda", "fin-01", "", "8H100"), accelerator="H100-SXM", market="spot")


@pytest.fixture
def h100():
    return Offer.objects.create(
        provider="verda", region="fin-01", machine_type="8H100", market="spot", accelerator="H100-SXM", family="H100",
        accelerators=8, usd_per_hour=16, usd_per_gpu_hour=2, changed_at=NOON, digest=1,
    )  # fmt: skip


@pytest.fixture
def learner(clock):
    return lessons.Lessons()


def note(offer, hours, lost, began=NOON):
    lessons.note_lease(offer=offer, opened_at=began, closed_at=began + timedelta(hours=hours), lost=lost)


class TestNoteLease:
    def test_keeps_for_how_long_it_lasted_from_when_its_capacity_came_up(self, h100):
        PriceSample.objects.create(offer=h100, seen_at=NOON - timedelta(hours=5), usd_per_hour=16, available=2)

        note(h100, 2, True)

        spell = Spell.objects.get()
        assert (spell.began_age_s, spell.ended_age_s, spell.lost) == (5 * 3600, 7 * 3600, True)

    def test_an_offer_that_nobody_saw_before_starts_at_nothing(self, h100):
        note(h100, 2, False)

        assert (Spell.objects.get().began_age_s, Spell.objects.get().lost) == (0, False)


class TestLessons:
    def test_losses_raise_the_hazard_of_their_place_and_lasting_lowers_it(self, h100, learner):
        before = learner.rates_per_hour([LINE])
        for _ in range(20):
            note(h100, 0.1, True)
        learner.forget()
        worse = learner.rates_per_hour([LINE])
        Spell.objects.all().delete()
        for _ in range(20):
            note(h100, 20, False)
        learner.forget()
        better = learner.rates_per_hour([LINE])

        assert before.shape == (1, len(AGES_S))
        assert worse[0, 0] > 1.2 * before[0, 0]
        assert (better[0, :6] < 0.8 * before[0, :6]).all()

    def test_are_learnt_anew_after_a_while_not_at_every_question(self, h100, learner, clock):
        before = learner.rates_per_hour([LINE])
        for _ in range(20):
            note(h100, 0.5, True)

        assert (learner.rates_per_hour([LINE]) == before).all()
        clock.forward(minutes=11)
        assert (learner.rates_per_hour([LINE]) != before).any()

    def test_what_is_half_a_year_old_is_forgotten(self, h100):
        note(h100, 1, True)

        assert len(list(lessons.spells(now=NOON + timedelta(days=100)))) == 1
        assert len(list(lessons.spells(now=NOON + timedelta(days=190)))) == 0


class TestImportTrace:
    @pytest.fixture
    def trace(self, tmp_path):
        path = tmp_path / "v100.npz"
        counts = np.array([[1, 1, 0, 1], [0, 0, 0, 0]], np.int8)
        np.savez(path, zones=np.array(["us-east-1a", "odd"]), count=counts, tick_s=600)
        return path

    def test_makes_spells_of_its_zones_once_however_often_it_is_read(self, trace, clock, capsys):
        for _ in range(2):
            call_command("import_trace", str(trace), "--provider", "aws", "--accelerator", "V100")

        rows = Spell.objects.order_by("id").values_list("provider", "region", "zone", "accelerator", "market", "lost")
        assert list(rows) == [
            ("aws", "us-east-1", "us-east-1a", "V100", "spot", True),
            ("aws", "us-east-1", "us-east-1a", "V100", "spot", False),
        ]
        assert "2 spells of 2 zones" in capsys.readouterr().out

    def test_refuses_what_is_no_trace(self, tmp_path):
        path = tmp_path / "x.npz"
        np.savez(path, count=np.zeros((1, 2)))

        with pytest.raises(CommandError, match="not a trace"):
            call_command("import_trace", str(path), "--provider", "aws", "--accelerator", "V100")
