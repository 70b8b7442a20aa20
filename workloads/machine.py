"""
The engine under every lifecycle: claim a due row, run the step its state names, record the move.

A step reads its subject, may talk to the world, and returns Hop or Nap. It never writes: the engine records the move,
what follows from it and its Event in one transaction, and only while the claim still holds. So a worker may die
anywhere; another repeats the step.
"""

from __future__ import annotations

import contextlib
import logging
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Least

from providers.base import ProviderError
from workloads import bell
from workloads.lifecycle import Lifecycle
from workloads.models import Event

logger = logging.getLogger(__name__)
CLAIM_FOR = timedelta(minutes=2)
NAP_MAX_S = 600
HOPS_MAX = 8  # A row that hops on without a nap gives way to others after so many.
WRITES = re.compile(r'\s*(INSERT INTO|UPDATE|DELETE FROM) "(workloads|billing)_')


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """
    Move to another state. `set` is stored with it; `then` runs inside the recording transaction.

    figures: what was decided on, kept in the Event.
    """

    to: str
    why: str = ""
    figures: dict[str, Any] | None = None
    set: dict[str, Any] = field(default_factory=dict)
    then: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nap:
    """
    Stay, and look again in so many seconds or when somebody rings.

    figures: what was decided on; with them the staying is an Event too, and `set` is stored.
    """

    seconds: float
    why: str = ""
    figures: dict[str, Any] | None = None
    set: dict[str, Any] = field(default_factory=dict)
    then: Callable[[], object] | None = None
    failed: bool = False  # The world did not answer: the next failure waits longer.


Move = Hop | Nap
Run = Callable[[Any, datetime], Move]


@dataclass(frozen=True, slots=True)
class Step:
    """What happens in a state, where it may lead, and where it goes when late."""

    run: Run
    exits: frozenset[str]
    deadline: timedelta
    late: str | None  # None: no state is right, so a human is called.


class Machine:
    """The table of steps of one lifecycle, and the hand that runs them."""

    def __init__(self, model: type[Lifecycle], *, final: Iterable[str], claim_for: timedelta = CLAIM_FOR) -> None:
        """claim_for: after so long without `renew` a claim is anybody's: its process is taken to be dead."""
        self.model = model
        self.final = frozenset(final)
        self.claim_for = claim_for
        self.steps: dict[str, Step] = {}
        self._held: dict[int, uuid.UUID] = {}  # What this process is at.

    def step(self, state: str, *, exits: set[str], deadline: timedelta, late: str | None) -> Callable[[Run], Run]:
        """Declare what happens in a state, where it may lead, and where it goes when late."""

        def register(run: Run) -> Run:
            self.steps[state] = Step(run, frozenset(exits | ({late} if late else set())), deadline, late)
            return run

        return register

    def due(self, now: datetime) -> models.QuerySet[Any]:
        """Return the rows that want a step and that nobody holds, the longest due first."""
        unclaimed = Q(claimed_until=None) | Q(claimed_until__lt=now)
        rows = self.model._default_manager.filter(unclaimed, wake_at__lte=now, state__in=self.steps)
        return rows.order_by("wake_at", "id")

    def claim(self, pk: int, now: datetime) -> uuid.UUID | None:
        """Take the row if nobody holds it. The loser of a race gets None."""
        token = uuid.uuid4()
        until = now + self.claim_for
        # wake_at rises with the claim, so that a ring in the middle of the step shows as an earlier wake_at.
        won = self.due(now).filter(pk=pk).update(claim_token=token, claimed_until=until, wake_at=until)
        return token if won else None

    def renew(self, now: datetime) -> None:
        """Hold on to the rows that this process is at."""
        for pk, token in list(self._held.items()):
            row = self.model._default_manager.filter(pk=pk, claim_token=token)
            row.update(claimed_until=now + self.claim_for)

    def advance(self, pk: int, now: datetime) -> Move | None:
        """Run one step of one row. Return None when the row was not ours to run."""
        token = self.claim(pk, now)
        if token is None:
            return None
        self._held[pk] = token
        try:
            return self._step(pk, token, now)
        finally:
            del self._held[pk]

    def _step(self, pk: int, token: uuid.UUID, now: datetime) -> Move | None:
        subject = self.model._default_manager.get(pk=pk)
        step = self.steps[subject.state]
        try:
            move = self._run(step, subject, now)
            if isinstance(move, Hop):
                assert move.to in step.exits, f"{subject.state} may not lead to {move.to}"
            return move if self._record(subject, token, move, now) else None
        except Exception:
            self._stumble(subject, token, now)
            raise

    def drive(self, pk: int, clock: Callable[[], datetime]) -> int:
        """Run the row until it naps; return how many steps were recorded."""
        for done in range(HOPS_MAX):
            move = self.advance(pk, clock())
            if move is None or isinstance(move, Nap):
                return done + (move is not None)
        return HOPS_MAX

    def _run(self, step: Step, subject: Any, now: datetime) -> Move:
        if now >= subject.entered_at + step.deadline:
            if step.late:
                return Hop(to=step.late, why=f"{subject.state} for longer than {step.deadline}")
            logger.error("%s.late state=%s id=%s", subject._meta.model_name, subject.state, subject.pk)
        try:
            with connection.execute_wrapper(_refuse_writes):
                return step.run(subject, now)
        except ProviderError as error:
            logger.warning("%s.world-failed id=%s error=%s", subject._meta.model_name, subject.pk, error)
            return Nap(seconds=min(2 ** min(subject.attempts, 10), NAP_MAX_S), failed=True)

    def _stumble(self, subject: Any, token: uuid.UUID, now: datetime) -> None:
        """A bug surfaces in the log, and the row is tried again later and later instead of at every tick."""
        attempts = min(subject.attempts + 1, 30)
        pause = timedelta(seconds=min(2**attempts, NAP_MAX_S))
        row = self.model._default_manager.filter(pk=subject.pk, claim_token=token)
        with contextlib.suppress(DatabaseError):  # Without the database the claim runs out by itself.
            row.update(wake_at=now + pause, attempts=attempts, claim_token=None, claimed_until=None)

    def _record(self, subject: Any, token: uuid.UUID, move: Move, now: datetime) -> bool:
        with transaction.atomic():
            row = self.model._default_manager.filter(pk=subject.pk, claim_token=token)
            release: dict[str, Any] = {"claim_token": None, "claimed_until": None}
            if isinstance(move, Nap):
                wake_at = Least(F("wake_at"), models.Value(now + timedelta(seconds=move.seconds)))
                attempts = min(subject.attempts + 1, 30) if move.failed else 0
                if not row.update(**({"wake_at": wake_at, "attempts": attempts} | move.set | release)):
                    return False
                if move.figures is not None:
                    self._tell(subject, subject.state, move, now)
            else:
                arrived = {"state": move.to, "entered_at": now, "wake_at": now, "attempts": 0}
                if not row.update(**(arrived | move.set | release)):
                    return False
                self._tell(subject, move.to, move, now)
                self._wake_the_concerned(subject, now)
            if move.then:
                move.then()
        return True

    def _tell(self, subject: Any, to: str, move: Move, now: datetime) -> None:
        Event.objects.create(
            workload_id=subject.workload_of(),
            subject_type=self.model._meta.model_name or "",
            subject_id=subject.pk,
            from_state=subject.state,
            to_state=to,
            why=move.why[:400],
            figures=move.figures,
            at=now,
        )

    def _wake_the_concerned(self, subject: Any, now: datetime) -> None:
        # After the commit: a move never holds the lock of a row above it, so two moves cannot deadlock.
        for kind, pk in subject.concerned():
            transaction.on_commit(lambda kind=kind, pk=pk: bell.wake(kind, pk, now))  # type: ignore[misc]


def _refuse_writes(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    # The marketplace is the world to a step, though its rows lie in the same database.
    assert not WRITES.match(sql), f"a step may not write: {sql[:80]}"
    return execute(sql, params, many, context)
