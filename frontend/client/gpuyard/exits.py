"""What the exit codes of `yard` mean: the one list that help, docs and tests read."""

OK, ERROR, USAGE, AUTH, NO_CAPACITY, OVER_BUDGET = range(6)
FAILED, CANCELLED, PREEMPTED_OUT, INTERRUPTED = 10, 11, 12, 130

MEANINGS = {
    OK: "done; the workload succeeded",
    ERROR: "the broker said no, or is away",
    USAGE: "wrong usage; nothing was asked of the broker",
    AUTH: "no key, a wrong key, or one without that scope",
    NO_CAPACITY: "no capacity: nothing fits, or no machine was free",
    OVER_BUDGET: "over budget, or no credit left",
    FAILED: "the workload failed",
    CANCELLED: "the workload was cancelled",
    PREEMPTED_OUT: "preempted out: it trained, lost its machines, and got none to go on with",
    INTERRUPTED: "interrupted by Ctrl-C; a running workload goes on",
}
