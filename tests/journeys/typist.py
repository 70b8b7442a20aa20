"""Run a command on a terminal and type the answers to what it asks: `python typist.py '["answer", ...]' COMMAND...`."""

import json
import sys

import pexpect

ASKS = r": ?$"


def main() -> int:
    answers, command = json.loads(sys.argv[1]), sys.argv[2:]
    child = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=60)
    child.logfile_read = sys.stdout
    for answer in answers:
        child.expect(ASKS)
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus if child.exitstatus is not None else 1


if __name__ == "__main__":
    sys.exit(main())
