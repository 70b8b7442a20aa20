"""Word of an interruption, from fakes of the clouds' metadata services to the beat that a broker hears."""

import signal
from datetime import UTC, datetime, timedelta

import pytest

from workloads.node import notices
from workloads.node.hardware import own_address
from workloads.node.notices import Watcher

from . import metadata
from .conftest import wait_for
from .metadata import soon


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    """Looks come one after the other, as far as the processes of this test are concerned."""
    monkeypatch.setattr(notices.Aws, "every_s", 0.02)
    monkeypatch.setattr(notices.Azure, "every_s", 0.02)
    monkeypatch.setattr(notices, "TROUBLE_S", 0.2)


@pytest.fixture
def cloud(request):
    service = request.param()
    yield service
    service.close()


@pytest.fixture
def aws():
    service = metadata.Aws()
    yield service
    service.close()


@pytest.fixture
def gcp():
    service = metadata.Gcp()
    yield service
    service.close()


@pytest.fixture
def azure():
    service = metadata.Azure()
    yield service
    service.close()


def watch(service, **more):
    heard = []
    watcher = Watcher(heard=lambda: heard.append(watcher.notice), url=service.url, **more)
    watcher.start()
    return watcher, heard


def notice_of(watcher):
    return wait_for(lambda: watcher.notice, within_s=10)


class TestAws:
    def test_an_interruption_is_heard_with_its_time(self, aws):
        watcher, _ = watch(aws)
        wait_for(lambda: aws.asked_for("spot/instance-action"))
        assert watcher.notice is None

        aws.interrupt(at := soon(120))

        heard = notice_of(watcher)
        assert (heard.kind, heard.at, heard.source) == ("interruption", at, "aws")

    def test_a_recommendation_comes_before_an_interruption_and_does_not_hide_it(self, aws):
        aws.recommend(soon(0))
        watcher, heard = watch(aws)
        assert notice_of(watcher).kind == "rebalance"

        aws.interrupt(soon(120))

        wait_for(lambda: watcher.notice.kind == "interruption")
        assert [notice.kind for notice in heard] == ["rebalance", "interruption"], "each is told once"

    def test_a_token_that_expired_is_fetched_anew(self, aws):
        watcher, _ = watch(aws)
        wait_for(lambda: aws.asked_for("spot/instance-action"))

        aws.expire_tokens()
        aws.interrupt(soon(120))

        assert notice_of(watcher).source == "aws"
        assert aws.given == 2


class TestGcp:
    def test_a_preemption_is_heard_at_once_from_one_hanging_request(self, gcp):
        watcher, _ = watch(gcp)
        wait_for(lambda: gcp.asked_for("wait_for_change"))
        asked = len(gcp.asked)

        gcp.preempt()

        heard = notice_of(watcher)
        assert (heard.kind, heard.source) == ("interruption", "gcp")
        assert timedelta(seconds=20) < heard.at - datetime.now(UTC) <= timedelta(seconds=30)
        assert len(gcp.asked) == asked

    def test_one_that_was_true_before_the_agent_started_is_heard_too(self, gcp):
        gcp.preempt()

        assert notice_of(watch(gcp)[0]).source == "gcp"

    def test_the_request_is_made_again_when_nothing_changed(self, gcp):
        gcp.longest_s = 0.05
        watcher, _ = watch(gcp)

        wait_for(lambda: gcp.asked_for("wait_for_change") > 2)

        assert watcher.notice is None


class TestAzure:
    def test_the_preemption_of_this_machine_is_heard_and_not_approved(self, azure):
        watcher, _ = watch(azure)
        azure.schedule("Preempt", ["vm-other"], not_before=soon(30))
        azure.schedule("Freeze", ["vm-spot"], not_before=soon(900))
        wait_for(lambda: azure.asked_for("scheduledevents") > 2)
        assert watcher.notice is None, "of another machine of its scale set; a pause of some seconds"

        azure.schedule("Preempt", ["vm-other", "vm-spot"], not_before=(at := soon(30)))

        heard = notice_of(watcher)
        assert (heard.kind, heard.at, heard.source) == ("interruption", at, "azure")
        assert azure.approved == [], "that would shorten the notice"

    def test_an_event_that_has_started_has_no_time(self, azure):
        azure.schedule("Preempt", ["vm-spot"], not_before=None)

        assert notice_of(watch(azure)[0]).at is None


class TestWhichCloud:
    @pytest.mark.parametrize("cloud", [metadata.Aws, metadata.Gcp, metadata.Azure], indirect=True)
    @pytest.mark.parametrize("firmware", ["", "QEMU"])
    def test_where_the_firmware_says_nothing_the_service_that_answers_tells(
        self, cloud, firmware, tmp_path, monkeypatch
    ):
        (tmp_path / "sys_vendor").write_text(firmware)
        monkeypatch.setattr(notices, "METADATA_URL", cloud.url)

        found = Watcher(heard=lambda: None, dmi=tmp_path)._cloud()

        assert found.source == type(cloud).__name__.lower()

    @pytest.mark.parametrize(
        ("file", "text", "source"),
        [
            ("sys_vendor", "Amazon EC2\n", "aws"),
            ("bios_version", "4.11.amazon\n", "aws"),
            ("product_name", "Google Compute Engine\n", "gcp"),
            ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n", "azure"),
        ],
    )
    def test_the_firmware_is_believed_without_asking(self, file, text, source, tmp_path):
        (tmp_path / file).write_text(text)

        assert Watcher(heard=lambda: None, dmi=tmp_path)._cloud().source == source

    def test_elsewhere_nothing_is_watched(self, broker):
        """The stand-in broker is an HTTP server that knows none of these paths."""
        assert Watcher(heard=lambda: None, url=broker.url)._cloud() is None

    def test_no_proxy_is_asked(self, aws, monkeypatch):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        aws.interrupt(soon(120))

        assert notice_of(watch(aws)[0]).source == "aws"


@pytest.mark.parametrize("cloud", [metadata.Aws, metadata.Gcp, metadata.Azure], indirect=True)
def test_a_service_that_answers_nonsense_is_asked_again(cloud):
    watcher, _ = watch(cloud)
    wait_for(lambda: len(cloud.asked) > 3)
    cloud.garbled = 2
    wait_for(lambda: not cloud.garbled)

    if isinstance(cloud, metadata.Aws):
        cloud.interrupt(soon(120))
    elif isinstance(cloud, metadata.Gcp):
        cloud.preempt()
    else:
        cloud.schedule("Preempt", ["vm-spot"], not_before=soon(30))

    assert notice_of(watcher).kind == "interruption"


def test_a_real_agent_tells_its_broker_and_goes_on_telling(broker, aws, start_agent, monkeypatch):
    monkeypatch.setenv("GPUYARD_METADATA_URL", aws.url)
    aws.interrupt(at := soon(120))

    start_agent()

    said = wait_for(lambda: (broker.beats.get(7) or [{}])[-1].get("notice"))
    assert (said["kind"], datetime.fromisoformat(said["at"]), said["source"]) == ("interruption", at, "aws")
    beats = len(broker.beats[7])
    wait_for(lambda: len(broker.beats[7]) > beats + 1)
    assert broker.beats[7][-1]["notice"] == said, "a beat may be lost"


def test_sigterm_is_told_in_a_last_beat(broker, start_agent):
    agent = start_agent()
    wait_for(lambda: broker.beats.get(7))
    assert broker.beats[7][-1]["notice"] is None

    agent.send_signal(signal.SIGTERM)

    assert agent.wait(timeout=20) == 0
    assert broker.beats[7][-1]["notice"] == {"kind": "sigterm", "at": None, "source": "agent"}


def test_a_broker_that_is_away_does_not_keep_an_agent_from_ending(broker, start_agent):
    agent = start_agent()
    wait_for(lambda: broker.beats.get(7))
    broker.down = True

    agent.send_signal(signal.SIGTERM)

    assert agent.wait(timeout=20) == 0
    assert "agent.goodbye_unheard" in agent.said.read_text()


def test_the_own_address_is_one_of_this_machine(broker, start_agent):
    start_agent(address="auto")

    wait_for(lambda: broker.beats.get(7))

    assert broker.beats[7][-1]["address"] == own_address() != "auto"
