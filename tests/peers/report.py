"""
`make peers`: what others' software says of our fakes and adapters, a line for each provider.

Vendors' SDKs run in an environment of their own (their pins contradict ours and each other's); moto and the SDKs that
the product itself uses run in ours.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "tests" / "peers"
VERBS = ["listings", "launch", "machines", "terminate"]
# Without our pytest options and root conftest: they need Django.
ALONE = ["-c", "/dev/null", "--rootdir", ".", "--noconftest", "-p", "no:django", "-p", "no:cacheprovider"]


def at_home() -> dict[str, dict[str, Any]]:
    """What is proven in our own environment: {test file: what PEER would say}."""
    return {
        "tests/providers/test_aws.py": {
            "provider": "aws", "verbs": VERBS,
            "peer": f"moto {metadata.version('moto')} server, boto3 {metadata.version('boto3')}",
        },
        "tests/providers/test_nebius.py": {
            "provider": "nebius", "verbs": VERBS,
            "peer": f"gRPC server on the stubs of nebius {metadata.version('nebius')}",
        },
        "tests/providers/test_shadeform.py": {
            "provider": "shadeform", "verbs": VERBS, "peer": "JSON Schemas of its published API (it has no SDK)",
        },
        "tests/providers/test_prime.py": {
            "provider": "prime", "verbs": VERBS, "peer": "JSON Schemas of its published API",
        },
    }  # fmt: skip


def abroad() -> dict[str, dict[str, Any]]:
    """What vendors' SDKs prove: {test file: its PEER}."""
    found = {}
    for path in sorted(PEERS.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PEER":
                found[str(path.relative_to(ROOT))] = ast.literal_eval(node.value)
    return found


def run(python: str, files: list[str], *options: str) -> dict[str, tuple[int, int]]:
    """Run test files; return {file: (passed, not passed)}."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", "-q", "--junitxml", str(report), *options, *files]
        subprocess.run(command, cwd=ROOT, check=False)
        if not report.exists():
            return {}
        counts = dict.fromkeys(files, (0, 0))
        for case in ElementTree.parse(report).iter("testcase"):
            module = case.get("classname", "").replace(".", "/")
            file = next((name for name in files if module.startswith(name.removesuffix(".py"))), None)
            if file is not None:
                passed, failed = counts[file]
                bad = len(case) > 0 and any(child.tag in ("failure", "error", "skipped") for child in case)
                counts[file] = (passed + (not bad), failed + bad)
        return counts


def main(peers_python: str) -> int:
    """Run everything, print a line for each provider, return how many of them are not proven."""
    home, away = at_home(), abroad()
    counts = run(sys.executable, list(home)) | run(peers_python, list(away), *ALONE)
    sys.stdout.write("\n")
    unproven = 0
    for file, peer in sorted((home | away).items(), key=lambda one: one[1]["provider"]):
        passed, failed = counts.get(file, (0, 0))
        bad = failed or not passed
        unproven += bool(bad)
        state = f"{passed} cases" + (f", {failed} NOT PASSED" if failed else "" if passed else ", NOTHING RAN")
        sys.stdout.write(f"{peer['provider']:<13} {' '.join(peer['verbs']):<36} {state:<24} {peer['peer']}\n")
    return unproven


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
