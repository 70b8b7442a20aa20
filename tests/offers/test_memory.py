"""Memory on an accelerator: known models need what their papers say, and the cures that are named do cure."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offers.matching import memory
from offers.matching.memory import GIB, Shape, Training, cures, needed

LLAMA_2_7B = 6_738_415_616
SHAPE = Shape(layers=32, width=4096, heads=32, vocabulary=32000, tokens_per_sample=4096)
GPT_3 = Shape(layers=96, width=12288, heads=96, vocabulary=51200, tokens_per_sample=2048)
SEVEN_B = Training(parameters=LLAMA_2_7B, batch_size=1, shape=SHAPE)
shapes = st.builds(
    Shape,
    layers=st.integers(1, 100),
    width=st.integers(64, 16384),
    heads=st.integers(1, 128),
    vocabulary=st.integers(100, 300_000),
    tokens_per_sample=st.integers(1, 32768),
)
trainings = st.builds(
    Training,
    parameters=st.integers(10_000, 10**12),
    batch_size=st.integers(1, 512),
    precision=st.sampled_from(sorted(memory.BYTES)),
    optimizer=st.sampled_from(sorted(memory.OPTIMIZER_BYTES)),
    shape=shapes,
    recompute=st.booleans(),
    fused_attention=st.booleans(),
    shards=st.sampled_from([1, 2, 8]),
)


class TestNeeded:
    def test_adam_in_mixed_precision_takes_sixteen_bytes_a_parameter(self):
        # ZeRO, section 3.1: 2 for the parameter, 2 for the gradient, 12 for the optimizer.
        need = needed(SEVEN_B)

        assert need.parameters == pytest.approx(12.55, abs=0.01)
        assert need.gradients == pytest.approx(12.55, abs=0.01)
        assert need.optimizer == pytest.approx(75.31, abs=0.01)
        assert (need.parameters + need.gradients + need.optimizer) * GIB == pytest.approx(16 * LLAMA_2_7B)
        assert need.total > 100

    def test_gpt_2_xl_takes_the_24_gb_of_the_zero_paper(self):
        # ZeRO, section 1 and 3.1: 1.5 billion parameters, at least 24 GB for model states.
        need = needed(Training(parameters=1_500_000_000, batch_size=1))

        assert (need.parameters + need.gradients + need.optimizer) * GIB == pytest.approx(24e9)

    def test_fsdp_divides_the_states(self):
        need = needed(replace(SEVEN_B, shards=8))

        assert need.gradients == pytest.approx(needed(SEVEN_B).gradients / 8)
        assert need.optimizer == pytest.approx(needed(SEVEN_B).optimizer / 8)
        assert need.parameters == pytest.approx(needed(SEVEN_B).parameters / 8 + 2 * 12.55 / 32, abs=0.01)

    @pytest.mark.parametrize(
        ("optimizer", "per_parameter"), [("sgd", 4), ("momentum", 8), ("adam8bit", 6), ("adam", 12)]
    )
    def test_optimizers_differ(self, optimizer, per_parameter):
        need = needed(replace(SEVEN_B, optimizer=optimizer))

        assert need.optimizer * GIB == pytest.approx(per_parameter * LLAMA_2_7B)

    def test_full_precision_needs_no_second_copy(self):
        need = needed(replace(SEVEN_B, precision="tf32"))

        assert need.parameters * GIB == pytest.approx(4 * LLAMA_2_7B)
        assert need.optimizer * GIB == pytest.approx(8 * LLAMA_2_7B)

    def test_lora_pays_for_its_own_parameters_only(self):
        lora = needed(replace(SEVEN_B, trainable=20_000_000))

        assert lora.parameters == pytest.approx(12.55, abs=0.02)
        assert (lora.gradients + lora.optimizer) * GIB == pytest.approx(14 * 20_000_000)

    def test_qlora_holds_65_billion_parameters_in_48_gb(self):
        # QLoRA, abstract: a 65B model is finetuned on one 48 GB GPU; needs more than 780 GB in 16 bits.
        shape = Shape(layers=80, width=8192, heads=64, vocabulary=32000, tokens_per_sample=512)
        whole = Training(parameters=65_285_660_672, batch_size=1, shape=shape, recompute=True)

        quantised = needed(replace(whole, trainable=200_000_000, frozen_bits=4))

        assert needed(whole).total > 780e9 / GIB
        assert 30 < quantised.total < 44.7

    def test_measured_activations_go_before_the_formula(self):
        need = needed(replace(SEVEN_B, batch_size=4, activation_bytes_per_sample=GIB))

        assert need.activations == pytest.approx(4)


class TestActivations:
    def test_of_gpt_3_are_what_korthikanti_computes(self):
        # Section 4: GPT-3 has a = 96, s = 2048, h = 12288, so 5as/h = 80: a layer keeps sbh (34 + 80).
        layer = 2048 * 12288 * 114
        logits = 8 * 2048 * 51200

        kept = memory.activation_bytes(GPT_3, batch_size=1, recompute=False, fused_attention=False)

        assert kept == pytest.approx(96 * layer + logits)

    def test_in_one_kernel_keep_no_scores(self):
        kept = memory.activation_bytes(GPT_3, batch_size=1, recompute=False, fused_attention=True)

        assert kept == pytest.approx(96 * 2048 * 12288 * 34 + 8 * 2048 * 51200)

    def test_recomputed_keep_the_input_of_each_layer(self):
        kept = memory.activation_bytes(GPT_3, batch_size=1, recompute=True, fused_attention=True)

        assert kept == pytest.approx(2048 * 12288 * (2 * 96 + 34) + 8 * 2048 * 51200)


class TestFits:
    def test_leaves_a_margin(self):
        exactly = needed(SEVEN_B).total

        assert not needed(SEVEN_B).fits(exactly)
        assert needed(SEVEN_B).fits(exactly / 0.9 + 0.001)

    @given(trainings)
    def test_more_batch_never_needs_less(self, training):
        assert needed(replace(training, batch_size=training.batch_size + 1)).total >= needed(training).total

    @given(trainings)
    def test_recomputing_never_needs_more_than_a_layer(self, training):
        plain, again = (needed(replace(training, recompute=each)).activations for each in (False, True))

        assert again <= plain * (1 + 1 / training.shape.layers + 2 / 34)

    @given(trainings)
    def test_trainable_parameters_never_need_less_than_frozen_ones(self, training):
        assert needed(replace(training, trainable=training.parameters // 100)).total <= needed(training).total

    @given(trainings, st.sampled_from([8.0, 24.0, 80.0, 288.0]))
    def test_there_are_no_cures_where_nothing_ails(self, training, memory_gib):
        assert needed(training).fits(memory_gib) <= (cures(training, memory_gib) == [])


class TestCures:
    def test_name_what_would_do(self):
        big = replace(SEVEN_B, batch_size=16)

        words = cures(big, 288)

        assert words[0] == f"batch size {most(big, 288)} instead of 16"
        assert words[1] == "recompute activations (a third more arithmetic)"

    def test_a_seven_b_model_on_an_80_gb_card_needs_company(self):
        # 16 bytes a parameter halved are 50 GiB, activations and logits 18: with the context 70 of the 72 that count.
        assert cures(SEVEN_B, 80) == ["FSDP over 2 accelerators"]

    def test_may_take_everything_together(self):
        words = cures(
            Training(parameters=70_553_706_496, batch_size=64, shape=replace(SHAPE, layers=80, width=8192)), 80
        )

        assert words == ["batch size 1, recomputed activations and FSDP over 32 accelerators together"]

    def test_may_not_exist(self):
        assert cures(Training(parameters=10**13, batch_size=1, shape=SHAPE), 24) == []

    @given(trainings, st.sampled_from([16.0, 80.0]))
    def test_a_smaller_batch_that_is_named_fits_and_one_more_does_not(self, training, memory_gib):
        words = cures(training, memory_gib)

        for word in words:
            if word.startswith("batch size") and "instead" in word:
                size = int(word.split()[2])
                assert needed(replace(training, batch_size=size)).fits(memory_gib)
                assert not needed(replace(training, batch_size=size + 1)).fits(memory_gib)


def most(training, memory_gib):
    return max(n for n in range(1, 16) if needed(replace(training, batch_size=n)).fits(memory_gib))
