"""The roofline: what bounds the work decides how it scales, and strangers' profiles are read with care."""

import csv
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers import gpus
from offers.matching import chips, memory, profile, roofline
from offers.matching.profile import Profile, ProfileInvalid, Work
from offers.matching.roofline import Machine

H100, A100 = chips.find("H100-SXM"), chips.find("A100-80GB")
SHAPE = memory.Shape(layers=32, width=4096, heads=32, vocabulary=32000, tokens_per_sample=4096)
LLAMA_2_7B = 6_738_415_616


def made(*work, batch_size=1, precision="bf16"):
    return Profile(
        work=tuple(work),
        batch_size=batch_size,
        precision=precision,
        parameters=1000,
        trainable=1000,
        parameter_bytes=4000,
        optimizer_bytes=8000,
        activation_bytes=100,
    )


ARITHMETIC = made(Work(1e13, 1e6, 1))
TRAFFIC = made(Work(0, 1e10, 1))
rates = st.floats(1e9, 1e16)
works = st.builds(Work, st.floats(0, 1e15), st.floats(1, 1e12), st.integers(1, 10_000))
profiles = st.lists(works, min_size=1, max_size=5).map(lambda rows: made(*rows))
curves = st.lists(st.tuples(st.floats(1, 1e12), rates), min_size=1, max_size=5, unique_by=lambda point: point[0]).map(
    lambda points: tuple(sorted(points))
)
machines = st.builds(Machine, compute=curves, memory=curves, launch_s=st.floats(1e-7, 1e-4))


class TestChips:
    def test_are_all_in_the_table_of_accelerators_with_a_source(self):
        with chips.TABLE.open(newline="") as file:
            rows = list(csv.DictReader(file))

        assert {row["name"] for row in rows} <= set(gpus.BY_NAME)
        assert len({row["name"] for row in rows}) == len(rows) >= 70
        assert all("." in row["source"] for row in rows)
        assert all(bool(row["matmul_tflops"]) == bool(row["matmul_source"]) for row in rows)

    def test_reach_less_than_their_peak(self):
        for name in chips.names():
            chip = chips.find(name)

            assert chip.tflops
            assert chip.memory_gb_per_s > 0
            assert chip.matmul_tflops is None or chip.matmul_tflops < chip.tflops["bf16"]
            assert chip.tflops.get("fp32", 0) <= max(chip.tflops.values())

    def test_compute_in_the_nearest_precision_that_they_have(self):
        volta = chips.find("V100")

        assert volta.precision("bf16") == "fp16"
        assert volta.precision("tf32") == "fp32"
        assert volta.peak_tflops("bf16") == 125
        assert A100.precision("bf16") == "bf16"
        with pytest.raises(chips.UnknownPrecision, match="int3"):
            volta.precision("int3")

    def test_a_slice_is_its_share_of_the_whole(self):
        part = chips.find("A100-80GB-MIG-3g.40gb")

        assert part.peak_tflops("bf16") == pytest.approx(312 * 3 / 7)
        assert part.memory_gb_per_s == pytest.approx(2039 / 2)
        assert chips.find("NOVEL-GPU") is None
        assert chips.find("NOVEL-GPU-MIG-1g.10gb") is None


class TestMachine:
    def test_bound_by_arithmetic_it_scales_with_what_products_reach(self):
        ratio = speed(H100, ARITHMETIC) / speed(A100, ARITHMETIC)

        assert ratio == pytest.approx(794.5 / 271.2, rel=0.01)

    def test_bound_by_memory_it_scales_with_bandwidth(self):
        ratio = speed(H100, TRAFFIC) / speed(A100, TRAFFIC)

        assert ratio == pytest.approx(3350 / 2039, rel=0.01)

    def test_many_small_operations_take_as_long_anywhere(self):
        small = made(Work(1e3, 1e3, 10_000))

        assert speed(H100, small) / speed(A100, small) == pytest.approx(1, rel=0.01)
        assert roofline.by_sheet(H100, "bf16").step_s(small) == pytest.approx(0.05, rel=0.01)

    def test_a_step_takes_what_its_operations_take(self):
        machine = Machine(compute=((1, 2e9),), memory=((1, 1e9),), launch_s=1e-3)

        assert machine.step_s(made(Work(4e9, 1e9, 2), Work(1, 3e9, 1))) == pytest.approx(2 * 2 + 3 + 3e-3)
        assert machine.samples_per_s(made(Work(4e9, 1e9, 1), batch_size=8)) == pytest.approx(8 / 2.001)

    @given(machines, profiles, st.floats(1, 100), st.floats(1, 100))
    def test_more_of_anything_is_never_slower(self, machine, work, arithmetic, traffic):
        faster = replace(
            machine,
            compute=tuple((size, rate * arithmetic) for size, rate in machine.compute),
            memory=tuple((size, rate * traffic) for size, rate in machine.memory),
        )

        assert faster.step_s(work) <= machine.step_s(work) * (1 + 1e-9)

    @given(machines, profiles, works)
    def test_more_work_is_never_faster(self, machine, work, more):
        assert machine.step_s(replace(work, work=(*work.work, more))) > machine.step_s(work)

    @given(curves, st.floats(0.1, 1e13))
    def test_a_rate_lies_between_those_of_its_curve(self, curve, size):
        slowest, fastest = min(rate for _, rate in curve), max(rate for _, rate in curve)

        assert slowest * (1 - 1e-9) <= roofline.at(curve, size) <= fastest * (1 + 1e-9)

    def test_a_rate_between_two_points_is_their_mean_in_logarithms(self):
        curve = ((1e2, 10.0), (1e4, 1000.0))

        assert roofline.at(curve, 1e3) == pytest.approx(100)
        assert roofline.at(curve, 1) == 10
        assert roofline.at(curve, 1e6) == 1000


class TestBenchmark:
    def test_is_read_in_any_order(self):
        machine = roofline.by_benchmark(
            {"compute": [[1e6, 2e12], [1e3, 1e9]], "memory": [[1e3, 1e9]], "launch_s": 1e-6}
        )

        assert machine == Machine(compute=((1e3, 1e9), (1e6, 2e12)), memory=((1e3, 1e9),), launch_s=1e-6)

    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"compute": [], "memory": [[1, 1]], "launch_s": 1},
            {"compute": [[1, 0]], "memory": [[1, 1]], "launch_s": 1},
            {"compute": [[1, 1, 1]], "memory": [[1, 1]], "launch_s": 1},
            {"compute": [[1, 1]], "memory": 5, "launch_s": 1},
            {"compute": [[1, 1]], "memory": [[1, 1]], "launch_s": math.inf},
        ],
    )
    def test_that_means_nothing_is_refused(self, wrong):
        with pytest.raises(ProfileInvalid):
            roofline.by_benchmark(wrong)


class TestTransformer:
    def test_costs_six_flops_a_parameter_and_token_and_attention(self):
        counted = profile.transformer(SHAPE, parameters=LLAMA_2_7B, batch_size=2)

        attention = 14 * 32 * 4096 * 4096
        assert counted.flops_per_sample == pytest.approx((6 * LLAMA_2_7B + attention) * 4096)

    def test_of_chinchilla_costs_what_its_paper_says(self):
        # Hoffmann et al. 2022, table A4: 70 billion parameters, 1.4 trillion tokens, 5.88e23 FLOPs by 6ND.
        shape = memory.Shape(layers=80, width=8192, heads=64, vocabulary=32000, tokens_per_sample=2048)

        step = profile.transformer(shape, parameters=70_000_000_000, batch_size=1)

        assert step.flops_per_sample * 1.4e12 / 2048 == pytest.approx(5.88e23, rel=0.05)

    def test_recomputed_costs_a_third_more(self):
        plain = profile.transformer(SHAPE, parameters=LLAMA_2_7B, batch_size=1)
        again = profile.transformer(SHAPE, parameters=LLAMA_2_7B, batch_size=1, recompute=True)

        assert again.flops_per_sample == pytest.approx(plain.flops_per_sample * 4 / 3)
        assert again.activation_bytes < plain.activation_bytes / 5

    def test_on_an_a100_reaches_the_share_of_peak_that_is_usual(self):
        # LLM Foundry, 8 x A100-80GB, MPT-7B at 2048 tokens without recomputation: 4641 tokens/s a GPU.
        shape = memory.Shape(layers=32, width=4096, heads=32, vocabulary=50368, tokens_per_sample=2048)
        step = profile.transformer(shape, parameters=6_658_859_008, batch_size=6, shards=8)

        assert 2048 * speed(A100, step) == pytest.approx(4641, rel=0.05)


class TestParse:
    def test_reads_what_it_writes(self):
        whole = replace(made(Work(2, 3, 4)), tokens_per_sample=7, accelerator="A100 SXM4", samples_per_s=2.5)

        assert profile.parse(whole.as_json()) == whole
        assert profile.parse(made(Work(2, 3, 4)).as_json()) == made(Work(2, 3, 4))

    @pytest.mark.parametrize(
        "change",
        [
            {"work": []},
            {"work": [[0, 0, 5]]},
            {"work": [[1, 2]]},
            {"work": [[1, -2, 1]]},
            {"work": [[1, math.nan, 1]]},
            {"work": [[1, True, 1]]},
            {"work": [[1, 1, 1]] * 2001},
            {"precision": "int3"},
            {"batch_size": 0},
            {"batch_size": 1.5},
            {"parameters": "many"},
            {"optimizer_bytes": None},
            {"tokens_per_sample": 0},
            {"accelerator": "A100"},
            {"samples_per_s": 3.0},
            {"accelerator": "A100", "samples_per_s": 0},
            {"accelerator": "A" * 101, "samples_per_s": 1},
        ],
    )
    def test_refuses_what_means_nothing(self, change):
        with pytest.raises(ProfileInvalid):
            profile.parse(made(Work(2, 3, 4)).as_json() | change)

    @pytest.mark.parametrize("body", [None, [], "profile", 5])
    def test_refuses_what_is_no_object(self, body):
        with pytest.raises(ProfileInvalid, match="object"):
            profile.parse(body)


def speed(chip, work):
    return roofline.by_sheet(chip, work.precision).samples_per_s(work)
