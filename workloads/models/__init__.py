"""What runs, where it was put, what we rent for it, how it trains, and what happened."""

from workloads.models.placing import Artifact, Event, Lease, LogLine, Node, Placement, Program, Workload
from workloads.models.training import Contribution, Metric, Round, SampleRange, Training

__all__ = [
    "Artifact",
    "Contribution",
    "Event",
    "Lease",
    "LogLine",
    "Metric",
    "Node",
    "Placement",
    "Program",
    "Round",
    "SampleRange",
    "Training",
    "Workload",
]
