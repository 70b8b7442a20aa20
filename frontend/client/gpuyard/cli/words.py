"""Moves in plain words, for people who do not know the broker's states."""

from gpuyard import objects

WORKLOAD = {
    "placing": "Looking for machines",
    "starting": "Machines found",
    "running": "Training",
    "recovering": "Looking for machines to go on with",
    "stopping": "Stopping",
    "succeeded": "Finished",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
SITE = {
    "leasing": "gets its machines",
    "joining": "joins",
    "training": "trains",
    "draining": "hands in and leaves",
    "closed": "has left",
}
MACHINE = {
    "requested": "was asked for",
    "booting": "boots",
    "held": "is rented",
    "releasing": "is being handed back",
    "released": "was handed back",
    "lost": "was lost",
    "refused": "could not be had",
}
ROUND = {"open": "Next round", "closed": "Merged", "abandoned": "Round given up"}


def plainly(event: objects.Event, workload: objects.Workload | None) -> str:
    """One move in plain words, with its reason."""
    phrase, why = phrase_of(event, workload), event["why"]
    if event["figures"] is not None and event["from"] == event["to"] and why:
        return why[:1].upper() + why[1:]  # A decision says it all.
    return f"{phrase}: {why}" if why else phrase


def phrase_of(event: objects.Event, workload: objects.Workload | None) -> str:
    """Who does what."""
    to, subject, number = event["to"], event["subject"], event["subject_id"]
    if subject == "workload" and to in WORKLOAD:
        return WORKLOAD[to]
    if subject == "round" and to in ROUND:
        return ROUND[to]
    if subject == "placement" and to in SITE:
        return f"{site_of(number, workload)} {SITE[to]}"
    if subject == "lease" and to in MACHINE:
        return f"{machine_of(number, workload)} {MACHINE[to]}"
    return f"{subject} {number}: {to}"


def site_of(placement: int, workload: objects.Workload | None) -> str:
    """A site by its name."""
    named = [site["site"] for site in workload["sites"] if site["placement"] == placement] if workload else []
    return named[0] if named else f"Site {placement}"


def machine_of(lease: int, workload: objects.Workload | None) -> str:
    """A machine by its host's name, and where it stands."""
    for site in workload["sites"] if workload else []:
        for node in site["nodes"]:
            if node["lease"] == lease:
                return f"{node['host'] or 'A machine'} at {site['site']}"
    return f"Machine {lease}"
