"""The thin port between the placement judge and `offers.matching.policy`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from offers.matching.policy.gang import GangPolicy  # noqa: E402


def new_gang_policy(**terms):
    """Return a policy for one gang."""
    return GangPolicy(**terms)
