"""Whose each sample is: positions are leased in ranges, used by a contribution, and merged once or free again."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet, Sum

from workloads.models import Contribution, Placement, SampleRange, Training

Ranges = list[tuple[int, int]]


def leased(placement: Placement, number: int) -> Ranges:
    """Return what this site was given for its question of that number: it did not hear the answer."""
    return _ranges(SampleRange.objects.filter(holder=placement, lease=number, contribution=None))


def holds_any(placement: Placement) -> bool:
    """Whether a site has samples that no contribution of its has used yet."""
    return SampleRange.objects.filter(holder=placement, contribution=None).exists()


def take(training: Training, placement: Placement, *, number: int, count: int) -> Ranges:
    """Lease up to `count` positions to a site, what others left before what is new. The Training row is locked."""
    taken: Ranges = []
    if training.stopped_at:
        return taken
    free = SampleRange.objects.filter(
        workload=training.workload_id, holder=None, contribution=None, merged_version=None
    ).order_by("start")
    for piece in free:
        if count <= 0:
            break
        end = min(piece.end, piece.start + count)
        _cut(piece, end)
        SampleRange.objects.filter(pk=piece.pk).update(holder=placement, lease=number)
        taken.append((piece.start, end))
        count -= end - piece.start
    start, end = training.next_sample, min(training.total_samples, training.next_sample + count)
    if end > start:
        SampleRange.objects.create(
            workload_id=training.workload_id, start=start, end=end, holder=placement, lease=number
        )
        taken.append((start, end))
        training.next_sample = end
        training.save(update_fields=["next_sample"])
    return taken


def misuse(placement: Placement, ranges: Ranges, *, samples: int, steps: int) -> str:
    """Return what is wrong with the samples that a site says it used, or an empty text."""
    if samples != sum(end - start for start, end in ranges):
        return f"says {samples} samples, its ranges hold {sum(end - start for start, end in ranges)}"
    if samples and steps < 1:
        return "used samples without a step"
    last, held = -1, _ranges(SampleRange.objects.filter(holder=placement, contribution=None))
    for start, end in sorted(ranges):
        if start < last or end <= start:
            return f"range [{start}, {end}) overlaps another or is empty"
        last = end
        if not any(first <= start and end <= stop for first, stop in held):
            return f"range [{start}, {end}) is not leased to this site"
    return ""


def use(placement: Placement, contribution: Contribution, used: Ranges) -> None:
    """Mark the used parts of what the site holds."""
    SampleRange.objects.filter(pk__in=_pieces(placement.pk, used)).update(contribution=contribution)


def give_back(contributions: QuerySet[Contribution], *, to_their_sites: bool) -> None:
    """What came too late is its site's as before, or free again."""
    used = SampleRange.objects.filter(contribution__in=contributions)
    if to_their_sites:
        used.update(contribution=None)
    else:
        used.update(contribution=None, holder=None, lease=None)


def free(placement_id: int, ranges: Ranges | None = None) -> None:
    """What a site holds and has not used is anybody's again: all of it, or what of these ranges it holds."""
    mine = SampleRange.objects.filter(holder_id=placement_id, contribution=None)
    if ranges is not None:
        mine = mine.filter(pk__in=_pieces(placement_id, ranges))
    mine.update(holder=None, lease=None)


def merge(contributions: list[Contribution], version: int) -> None:
    """Their samples are in the update of this round, for ever."""
    ids = [contribution.pk for contribution in contributions]
    SampleRange.objects.filter(contribution__in=ids).update(merged_version=version, holder=None, lease=None)


def all_merged(training: Training) -> bool:
    """Whether every sample is merged; of a run that its script has stopped, every one that a site had got."""
    open_ = SampleRange.objects.filter(workload=training.workload_id, merged_version=None)
    if training.stopped_at:
        return not open_.exclude(holder=None, contribution=None).exists()
    return training.next_sample == training.total_samples and not open_.exists()


def progress(training: Training) -> float:
    """Return the share of the run's samples that sites have got, 0 to 1."""
    if training.stopped_at:
        return 1.0
    free = SampleRange.objects.filter(
        workload=training.workload_id, holder=None, contribution=None, merged_version=None
    ).aggregate(all=Sum(F("end") - F("start")))["all"]
    return (training.next_sample - (free or 0)) / training.total_samples


def _pieces(placement_id: int, ranges: Ranges) -> list[int]:
    """Cut what a site holds at the ends of these ranges; return the rows inside them."""
    inside: list[int] = []
    for start, end in ranges:
        held = SampleRange.objects.filter(holder=placement_id, contribution=None, start__lt=end, end__gt=start)
        for piece in list(held):
            if piece.start < start:
                _cut(piece, start)
                piece = SampleRange.objects.get(holder=placement_id, contribution=None, start=start)
            _cut(piece, end)
            inside.append(piece.pk)
    return inside


def _cut(piece: SampleRange, at: int) -> None:
    """Split a range at a position inside it; the piece keeps its first part."""
    if not piece.start < at < piece.end:
        return
    rest = SampleRange(
        workload_id=piece.workload_id, start=at, end=piece.end, holder_id=piece.holder_id, lease=piece.lease
    )
    piece.end = at
    piece.save()
    rest.save()


def _ranges(rows: Any) -> Ranges:
    """Return rows as ranges, neighbours joined."""
    ranges: Ranges = []
    for start, end in rows.order_by("start").values_list("start", "end"):
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return ranges
