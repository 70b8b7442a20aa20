"""The thin port between the placement judge and `offers.matching.policy`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from offers.matching.policy.elastic import new_elastic_policy  # noqa: E402
from offers.matching.policy.gang import new_gang_policy  # noqa: E402

__all__ = ["new_elastic_policy", "new_gang_policy"]
