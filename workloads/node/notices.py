"""Word that this machine is about to be taken away, from the cloud it runs on: a thread that watches its metadata.

Which cloud that is, it finds out by itself; where there is none, it ends at once and nothing is ever heard.
"""

import email.utils
import http.client
import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

log = logging.getLogger(__name__)

METADATA_URL = "http://169.254.169.254"  # The same link-local address at AWS, GCP and Azure.
DMI = Path("/sys/class/dmi/id")
PROBE_S = 1.0  # A metadata service is one hop away; where there is none, nothing answers.
TROUBLE_S = 5.0  # Between two tries when the service gives no usable answer.
INTERRUPTION, REBALANCE, SIGTERM = "interruption", "rebalance", "sigterm"
BAD_ANSWER = (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError, IndexError)


@dataclass(frozen=True)
class Notice:
    """What was heard. `at` None: at any moment from now on."""

    kind: str  # interruption: the machine goes. rebalance: it is likelier to go. sigterm: the agent was told to end.
    at: datetime | None
    source: str  # "aws", "gcp", "azure", or "agent" for a signal.

    def as_json(self) -> dict[str, str | None]:
        """As the beat carries it."""
        return {"kind": self.kind, "at": self.at.isoformat() if self.at else None, "source": self.source}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer of a metadata service."""

    status: int
    headers: Mapping[str, str]
    text: str


class Watcher:
    """Watches from `start()` until the process ends. `heard` is called in its thread when `notice` has changed."""

    def __init__(self, *, heard: Callable[[], None], url: str | None = None, dmi: Path = DMI) -> None:
        named = url or os.environ.get("GPUYARD_METADATA_URL")  # For tests, and for a service at another address.
        self._metadata = Metadata(named or METADATA_URL)
        self._dmi = None if named else dmi
        self._heard = heard
        self._notice: Notice | None = None

    @property
    def notice(self) -> Notice | None:
        """The gravest that was heard so far. It is never taken back."""
        return self._notice

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="notices", daemon=True).start()

    def _run(self) -> None:
        cloud = self._cloud()
        if cloud is None:
            log.info("notices.no_cloud")
            return
        log.info("notices.watching cloud=%s", cloud.source)
        trouble = ""
        while self._notice is None or self._notice.kind != INTERRUPTION:
            try:
                notice, trouble = cloud.look(), ""
            except BAD_ANSWER as error:
                if repr(error) != trouble:
                    trouble = repr(error)
                    log.warning("notices.trouble cloud=%s why=%s", cloud.source, trouble[:200])
                time.sleep(TROUBLE_S)
                continue
            if notice is not None and notice != self._notice:
                log.warning("notices.heard kind=%s at=%s source=%s", notice.kind, notice.at, notice.source)
                self._notice = notice
                self._heard()
            if cloud.every_s:
                time.sleep(cloud.every_s)

    def _cloud(self) -> "Aws | Gcp | Azure | None":
        """By what the firmware says of itself; in a container that hides it, by which service answers."""
        clouds = (Aws(self._metadata), Gcp(self._metadata), Azure(self._metadata))
        said = _firmware(self._dmi) if self._dmi else ""
        for cloud in clouds:
            if any(word in said for word in cloud.firmware):
                return cloud
        for cloud in clouds:
            try:
                if cloud.answers():
                    return cloud
            except BAD_ANSWER:
                continue
        return None


class Metadata:
    """HTTP to the metadata service, never through a proxy: it would answer for the proxy's machine."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, *, timeout_s: float, method: str = "GET", **headers: str) -> Answer:
        """Return the answer, whatever its status; `headers` are written with _ for -. Raises BAD_ANSWER."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self._url + path, method=method, headers=named)
        try:
            with self._opener.open(request, timeout=timeout_s) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, "")


class Aws:
    """IMDSv2: two minutes' notice of an interruption, and rebalance recommendations before it, at best effort.

    Sources: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html (look every
    5 s), .../rebalance-recommendations.html, .../configuring-instance-metadata-service.html
    """

    source: ClassVar = "aws"
    firmware: ClassVar = ("Amazon EC2", "amazon")
    every_s: ClassVar = 5.0
    TTL_S: ClassVar = 21600  # The longest that a token may live.

    def __init__(self, metadata: Metadata) -> None:
        self._metadata, self._token = metadata, ""

    def answers(self) -> bool:
        """Whether this is the metadata service of AWS."""
        self._token = self._new_token(PROBE_S)
        return bool(self._token)

    def look(self) -> Notice | None:
        """What it says now. Raises BAD_ANSWER."""
        action = self._get("/latest/meta-data/spot/instance-action")
        if action is not None:  # action is terminate, stop or hibernate: the machine is gone in each case.
            return Notice(INTERRUPTION, _instant(json.loads(action)["time"]), self.source)
        advice = self._get("/latest/meta-data/events/recommendations/rebalance")
        if advice is not None:
            return Notice(REBALANCE, _instant(json.loads(advice)["noticeTime"]), self.source)
        return None

    def _get(self, path: str) -> str | None:
        """The text at `path`; None for 404, which is its way to say "nothing"."""
        for _ in range(2):
            self._token = self._token or self._new_token(TROUBLE_S)
            answer = self._metadata.ask(path, timeout_s=TROUBLE_S, X_aws_ec2_metadata_token=self._token)
            if answer.status != 401:
                break
            self._token = ""  # It has expired.
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise ValueError(f"{path} answered {answer.status}")
        return answer.text

    def _new_token(self, timeout_s: float) -> str:
        answer = self._metadata.ask(
            "/latest/api/token",
            timeout_s=timeout_s,
            method="PUT",
            X_aws_ec2_metadata_token_ttl_seconds=str(self.TTL_S),
        )
        return answer.text if answer.status == 200 else ""


class Gcp:
    """A GET that hangs until the value changes; the machine stops 30 seconds after "TRUE".

    Sources: https://cloud.google.com/compute/docs/instances/create-use-spot (detecting a preemption),
    https://cloud.google.com/compute/docs/instances/preemptible#preemption-process (30 s),
    https://cloud.google.com/compute/docs/metadata/querying-metadata (wait_for_change, timeout_sec, last_etag)
    """

    source: ClassVar = "gcp"
    firmware: ClassVar = ("Google",)
    every_s: ClassVar = 0.0  # The waiting is in the asking.
    HANG_S: ClassVar = 60
    NOTICE: ClassVar = timedelta(seconds=30)
    PATH: ClassVar = "/computeMetadata/v1/instance/preempted"

    def __init__(self, metadata: Metadata) -> None:
        self._metadata, self._etag = metadata, ""

    def answers(self) -> bool:
        """Whether this is the metadata service of GCP."""
        answer = self._metadata.ask("/computeMetadata/v1/", timeout_s=PROBE_S, Metadata_Flavor="Google")
        return answer.status == 200 and answer.headers.get("Metadata-Flavor") == "Google"

    def look(self) -> Notice | None:
        """What it says at the next change, or after a minute without one; the first time at once. Raises BAD_ANSWER."""
        wait = f"?wait_for_change=true&timeout_sec={self.HANG_S}&last_etag={self._etag}" if self._etag else ""
        answer = self._metadata.ask(self.PATH + wait, timeout_s=self.HANG_S + 10.0, Metadata_Flavor="Google")
        if answer.status != 200 or not answer.headers.get("ETag"):
            raise ValueError(f"{self.PATH} answered {answer.status} with ETag {answer.headers.get('ETag')}")
        self._etag = answer.headers["ETag"]
        if answer.text.strip().upper() != "TRUE":
            return None
        return Notice(INTERRUPTION, datetime.now(UTC) + self.NOTICE, self.source)


class Azure:
    """Scheduled events: at least 30 seconds before a spot machine is deleted, at best effort.

    An event is never approved: that would only let Azure shorten the notice, and the broker ends the machine anyway
    once its site has left. Source: https://learn.microsoft.com/en-us/azure/virtual-machines/linux/scheduled-events
    """

    source: ClassVar = "azure"
    firmware: ClassVar = ("7783-7084-3265-9085-8269-3286-77",)  # The chassis asset tag of every Azure machine.
    every_s: ClassVar = 1.0  # As that page recommends.
    FIRST_S: ClassVar = 130.0  # The first call switches the events on and may take two minutes.
    GOING: ClassVar = ("Preempt", "Terminate")

    def __init__(self, metadata: Metadata) -> None:
        self._metadata, self._name = metadata, ""

    def answers(self) -> bool:
        """Whether this is the metadata service of Azure."""
        self._name = self._own_name(PROBE_S)
        return bool(self._name)

    def look(self) -> Notice | None:
        """What it says now. Raises BAD_ANSWER."""
        self._name = self._name or self._own_name(TROUBLE_S)
        path = "/metadata/scheduledevents?api-version=2020-07-01"
        answer = self._metadata.ask(path, timeout_s=self.FIRST_S, Metadata="true")
        if answer.status != 200:
            raise ValueError(f"{path} answered {answer.status}")
        for event in json.loads(answer.text)["Events"]:
            # A scale set hears of all its machines' events.
            if event["EventType"] in self.GOING and self._name in event["Resources"]:
                return Notice(INTERRUPTION, _not_before(event.get("NotBefore")), self.source)
        return None

    def _own_name(self, timeout_s: float) -> str:
        path = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
        answer = self._metadata.ask(path, timeout_s=timeout_s, Metadata="true")
        return answer.text.strip() if answer.status == 200 else ""


def _firmware(dmi: Path) -> str:
    """What the machine's maker wrote into it; empty where the system does not show it."""
    names = ("sys_vendor", "product_name", "bios_version", "chassis_asset_tag")
    words = []
    for name in names:
        try:
            words.append((dmi / name).read_text(errors="replace").strip())
        except OSError:
            continue
    return "\n".join(words)


def _instant(text: Any) -> datetime:
    """Read RFC 3339. Raises ValueError."""
    at = datetime.fromisoformat(str(text))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _not_before(text: Any) -> datetime | None:
    """Read the time of an event ("Tue, 09 Aug 2022 17:07:32 GMT"); None when it has started. Raises ValueError."""
    return email.utils.parsedate_to_datetime(text) if text else None
