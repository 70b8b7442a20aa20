"""`python -m gpuyard.node`: offer this machine to a broker and run what it orders."""

import argparse
import contextlib
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from .agent import Agent, Host
from .enrolment import NotEnrolled, StateTaken, Stopped, identify, take
from .hardware import AcceleratorsNotUnderstood, discover, own_address


def main() -> int:
    """Run the agent until SIGTERM or SIGINT. Returns the exit code."""
    options = _parser().parse_args()
    if not options.broker.startswith(("http://", "https://")):
        sys.stderr.write(f"gpuyard.node: --broker {options.broker}: write it with http:// or https://\n")
        return 2
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    state, stop = Path(options.state).absolute(), threading.Event()
    address = own_address() if options.address == "auto" else options.address
    try:
        with take(state):
            hardware = discover(state=state, accelerators=options.accelerators)
            agents: list[Agent] = []

            def end() -> None:
                stop.set()
                for agent in agents:
                    agent.wake()

            def stop_running(number: int, frame: FrameType | None) -> None:
                # In a thread: this handler may have interrupted the very code that holds the event's lock.
                threading.Thread(target=end).start()

            signal.signal(signal.SIGTERM, stop_running)
            signal.signal(signal.SIGINT, stop_running)
            with contextlib.suppress(Stopped):
                identity = identify(
                    broker=options.broker,
                    token=options.token,
                    state=state,
                    hardware=hardware,
                    address=address,
                    stop=stop,
                )
                host = Host(
                    broker=options.broker.rstrip("/"),
                    authorization=identity.authorization,
                    state=state,
                    address=address,
                    accelerators=options.accelerators,
                )
                agents.append(Agent(host=host, stop=stop))
                agents[0].run()
    except (NotEnrolled, StateTaken, AcceleratorsNotUnderstood, OSError) as wrong:
        sys.stderr.write(f"gpuyard.node: {wrong}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.add_argument("--broker", required=True, metavar="URL", help="the broker, for example https://broker.example")
    parser.add_argument("--token", help="enrolment token; needed once, later starts find the key in --state")
    parser.add_argument("--state", required=True, metavar="DIR", help="where the key and the leases' files are kept")
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help='the address by which other hosts of the same site reach this one; "auto": the default route\'s interface',
    )
    parser.add_argument(
        "--accelerators", metavar="CPU:N", help="on a host without GPUs: offer the CPU as N accelerators (default 1)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
