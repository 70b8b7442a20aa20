"""Speed and finish: the best that is known of a chip counts, and what is guessed says so."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers import gpus
from offers.matching import chips, estimate, roofline
from offers.matching.estimate import UNKNOWN, Speed, speed_for
from offers.matching.need import Need
from offers.matching.profile import Profile, Work
from offers.matching.roofline import Machine

ARITHMETIC = Profile(
    work=(Work(1e13, 1e6, 1),),
    batch_size=1,
    precision="bf16",
    parameters=1000,
    trainable=1000,
    parameter_bytes=4000,
    optimizer_bytes=8000,
    activation_bytes=100,
)
TRAFFIC = replace(ARITHMETIC, work=(Work(0, 1e10, 1),))
PROBED = replace(ARITHMETIC, accelerator="A100 SXM4 80GB", samples_per_s=50.0)
names = st.sampled_from(chips.names())


class TestRate:
    def test_measured_goes_first(self):
        speed = speed_for(Need(), measured={"A100-80GB": 70.0}, profile=PROBED)

        assert speed.of("A100-80GB") == 70
        assert speed.rate("A100-80GB").source == "measured"
        assert speed.source == "measured"

    def test_then_the_probe_under_our_name_of_its_chip(self):
        speed = speed_for(Need(), measured={}, profile=PROBED)

        assert speed.rate("A100-80GB") == estimate.Rate(50.0, estimate.PROBED_SIGMA, "probed")
        assert speed.source == "probed"

    def test_work_bound_by_memory_is_scaled_by_bandwidth(self):
        speed = Speed(source="measured", by_accelerator={"A100-80GB": 100.0}, profile=TRAFFIC)

        assert speed.of("H100-SXM") == pytest.approx(100 * 3350 / 2039, rel=0.01)
        assert speed.rate("H100-SXM").source == "scaled"

    def test_work_bound_by_arithmetic_is_scaled_by_what_products_reach(self):
        speed = Speed(source="measured", by_accelerator={"A100-80GB": 100.0}, profile=ARITHMETIC)

        assert speed.of("H100-SXM") == pytest.approx(100 * 794.5 / 271.2, rel=0.01)

    def test_without_a_profile_it_lies_between_both_and_is_unsure(self):
        speed = Speed(source="measured", by_accelerator={"A100-80GB": 100.0})

        rate = speed.rate("H100-SXM")

        assert rate.samples_per_s == pytest.approx(100 * (989 / 312 * 3350 / 2039) ** 0.5)
        assert rate.quantile(-1.2816) < 100 * 3350 / 2039
        assert rate.quantile(1.2816) > 100 * 989 / 312

    def test_is_scaled_from_the_chip_most_like_it(self):
        speed = Speed(source="measured", by_accelerator={"T4": 1.0, "H100-PCIE": 500.0}, profile=ARITHMETIC)

        assert speed.of("H100-SXM") == pytest.approx(500 * 794.5 / (0.78 * 756), rel=0.01)

    def test_is_predicted_where_nothing_was_measured(self):
        speed = speed_for(Need(), measured={}, profile=ARITHMETIC)

        rate = speed.rate("A100-80GB")

        assert rate.samples_per_s == pytest.approx(271.2e12 * roofline.TRAINING_SHARE / 1e13, rel=0.01)
        assert (rate.source, rate.sigma) == ("predicted", estimate.PREDICTED_SIGMA)

    def test_a_host_that_measured_itself_is_predicted_by_that(self):
        host = roofline.Machine(compute=((1, 1e14),), memory=((1, 1e12),), launch_s=1e-6)

        speed = speed_for(Need(), measured={}, profile=ARITHMETIC, machines={"A100-80GB": host, "CPU": host})

        assert speed.of("A100-80GB") == pytest.approx(10, rel=0.01)
        assert speed.of("CPU") == pytest.approx(10, rel=0.01)
        assert speed.sigma("CPU") == estimate.BENCHMARKED_SIGMA

    def test_a_cpu_is_never_guessed_from_a_gpu(self):
        assert speed_for(Need(), measured={"A100-80GB": 5.0}, profile=ARITHMETIC).of("CPU") is None
        assert speed_for(Need(), measured={"CPU": 5.0}).of("A100-80GB") is None

    def test_a_probe_on_a_cpu_says_little_of_other_cpus(self):
        speed = speed_for(Need(), measured={}, profile=replace(PROBED, accelerator="CPU"))

        assert speed.sigma("CPU") == estimate.CPU_SIGMA
        assert speed.rate("H100-SXM").source == "predicted"

    def test_a_chip_without_a_sheet_is_scaled_by_peak_and_very_unsure(self):
        speed = speed_for(Need(), measured={"A100-80GB": 100.0})

        assert speed.of("TPU-v2") == pytest.approx(100 * 45 / 312)
        assert speed.sigma("TPU-v2") > 0.5
        assert speed.of("NOVEL-GPU") is None

    @given(names)
    def test_the_less_is_known_the_less_it_is_sure(self, name):
        known = [
            Speed(source="measured", by_accelerator={name: 5.0}, profile=ARITHMETIC),
            speed_for(Need(), measured={}, profile=replace(ARITHMETIC, accelerator=name, samples_per_s=5.0)),
            speed_for(Need(), measured={}, profile=ARITHMETIC),
        ]

        sigmas = [speed.sigma(name) for speed in known]

        assert sigmas == sorted(sigmas)
        assert len(set(sigmas)) == 3

    @given(names, names, st.floats(0.01, 1e6))
    def test_scaling_there_and_back_changes_nothing(self, here, there, rate):
        for profile in (None, ARITHMETIC, TRAFFIC):
            over = Speed(source="measured", by_accelerator={here: rate}, profile=profile).of(there)

            assert Speed(source="measured", by_accelerator={there: over}, profile=profile).of(here) == pytest.approx(
                rate
            )

    def test_quantiles_are_those_of_a_lognormal(self):
        rate = estimate.Rate(100.0, 0.25, "predicted")

        assert rate.quantile(0) == 100
        assert rate.quantile(1) == pytest.approx(128.4, abs=0.1)
        assert rate.quantile(1) * rate.quantile(-1) == pytest.approx(1e4)


class TestSpeedFor:
    def test_what_is_stated_counts_for_every_variant_that_is_meant(self):
        speed = speed_for(Need(samples_per_s=9.0, accelerator="H100"), measured={"T4": 1.0})

        assert (speed.of("H100-SXM"), speed.of("H100-PCIE"), speed.source) == (9.0, 9.0, "stated")
        assert speed.rate("H100-SXM").source == "stated"

    def test_stated_without_a_chip_counts_anywhere(self):
        speed = speed_for(Need(samples_per_s=9.0), measured={}, profile=ARITHMETIC)

        assert (speed.of("T4"), speed.of("NOVEL-GPU")) == (9.0, 9.0)

    def test_knows_nothing_where_nothing_is_known(self):
        speed = speed_for(Need(), measured={})

        assert speed is UNKNOWN
        assert (speed.of("H100-SXM"), speed.rate("H100-SXM"), speed.sigma("H100-SXM")) == (None, None, None)


@pytest.mark.parametrize("name", chips.names())
def test_the_two_tables_of_chips_agree(name):
    assert gpus.find(name).tflops == pytest.approx(chips.find(name).peak_tflops("bf16"), rel=0.15)


def test_a_processor_is_no_measure_for_another_chip():
    machine = Machine(compute=((1.0, 1e11),), memory=((1.0, 1e10),), launch_s=1e-6)
    on_cpu = replace(ARITHMETIC, accelerator="CPU", samples_per_s=0.001)
    speed = speed_for(Need(), measured={}, profile=on_cpu, machines={"CPU": machine})

    assert speed.rate("CPU").source == "probed"
    assert speed.rate("H100-SXM").source == "predicted"
