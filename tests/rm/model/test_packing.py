import itertools

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from rm.errors import ModelError
from rm.model import reward_model
from rm.model.packing import Reading, pack
from rm.model.padding import pad
from rm.model.reward_model import RewardModelConfig
from rm.model.token_ids import TokenGroup

CLS = 7
POOLINGS = ["last", "mean", "mean_response", "token"]


def reading(pooling="last", causal=True):
    return Reading(pooling=pooling, token_id=CLS if pooling == "token" else None, causal=causal)


@st.composite
def token_groups(draw):
    """Prompts with 1 to 5 responses, some beginning as the first one does; else every id occurs once, but for the token
    to be found in each sequence."""
    fresh = itertools.count(100)
    groups = []
    for _ in range(draw(st.integers(1, 4))):
        prompt_ids = [next(fresh) for _ in range(draw(st.integers(1, 6)))]
        sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
        response_ids = [[next(fresh) for _ in range(size)] for size in sizes]
        if draw(st.booleans()):
            prompt_ids[draw(st.integers(0, len(prompt_ids) - 1))] = CLS
        for response in response_ids:
            if CLS not in prompt_ids or draw(st.booleans()):
                response[draw(st.integers(0, len(response) - 1))] = CLS
        for response in response_ids[1:]:
            if CLS not in response or CLS in prompt_ids:
                response[:0] = response_ids[0][: draw(st.integers(0, len(response_ids[0])))]
        groups.append(TokenGroup(prompt_ids, response_ids))
    return groups


def places_of_sequences(groups, *, shared):
    """Where in the row each sequence's tokens must stand."""
    end, places = 0, []
    for prompt_ids, response_ids in groups:
        prompt, first = None, []
        for response in response_ids:
            if prompt is None or not shared:
                prompt, end = list(range(end, end + len(prompt_ids))), end + len(prompt_ids)
            equal = [left == right for left, right in zip(first, response[:-1], strict=False)]
            common = [*equal, False].index(False) if shared else 0
            beginning = prompt[-1] + 1 if prompt else 0
            own = range(end, end + len(response) - common)
            places.append([*prompt, *range(beginning, beginning + common), *own])
            first, end = first or response, own.stop
    return places, end


def seen_by(plan):
    """For each token of the row, the tokens that the plan lets it see, in order."""
    return [
        [
            *range(segment.prefix_start, segment.prefix_end),
            *range(segment.start, token + 1 if plan.causal else segment.end),
        ]
        for segment in plan.segments
        for token in range(segment.start, segment.end)
    ]


@pytest.mark.parametrize("causal", [True, False], ids=["decoder", "encoder"])
@given(groups=token_groups())
def test_every_token_sees_its_own_sequence_and_nothing_else(causal, groups):
    packed = pack(groups, reading(causal=causal))
    places, num_tokens = places_of_sequences(groups, shared=causal)
    assert packed.input_ids.shape == packed.position_ids.shape == (1, num_tokens)
    row, seen = packed.input_ids[0].tolist(), seen_by(packed.plan)
    sequences = [sequence for group in groups for sequence in group.sequences()]
    for (prompt_ids, response_ids), tokens in zip(sequences, places, strict=True):
        assert [row[token] for token in tokens] == [*prompt_ids, *response_ids]
        for number, token in enumerate(tokens):
            assert seen[token] == (tokens[: number + 1] if causal else tokens)


@pytest.mark.parametrize("causal", [True, False], ids=["decoder", "encoder"])
@given(groups=token_groups())
def test_positions_count_from_zero_in_every_sequence(causal, groups):
    positions = pack(groups, reading(causal=causal)).position_ids[0].tolist()
    for tokens in places_of_sequences(groups, shared=causal)[0]:
        assert [positions[token] for token in tokens] == list(range(len(tokens)))


@pytest.mark.parametrize("causal", [True, False], ids=["decoder", "encoder"])
@given(groups=token_groups())
def test_segments_cover_the_row_without_gaps(causal, groups):
    packed = pack(groups, reading(causal=causal))
    ends = [0, *(segment.end for segment in packed.plan.segments)]
    assert [segment.start for segment in packed.plan.segments] == ends[:-1]
    assert ends[-1] == packed.input_ids.shape[1]
    assert packed.plan.causal == causal


@pytest.mark.parametrize("causal", [True, False], ids=["decoder", "encoder"])
@pytest.mark.parametrize("pooling", POOLINGS)
@given(groups=token_groups(), seed=st.integers(0, 99))
def test_pooling_a_packed_row_equals_pooling_padded_rows_by_masks(pooling, causal, groups, seed):
    packed = pack(groups, reading(pooling, causal))
    hidden = torch.randn(packed.input_ids.shape[1], 3, generator=torch.Generator().manual_seed(seed))
    padded = pad([sequence for group in groups for sequence in group.sequences()])
    apart = torch.full((*padded.input_ids.shape, 3), 9.0)
    for row, tokens in enumerate(places_of_sequences(groups, shared=causal)[0]):
        apart[row, : len(tokens)] = hidden[tokens]
    config = RewardModelConfig(pooling=pooling, pooling_token_id=CLS)
    expected = reward_model.pool(apart, padded.input_ids, padded.attention_mask, padded.response_mask, config)
    torch.testing.assert_close(reward_model.pool_packed(hidden, packed), expected)


@pytest.mark.parametrize("causal", [True, False], ids=["decoder", "encoder"])
@pytest.mark.parametrize("pooling", POOLINGS)
@given(groups=token_groups())
def test_the_lists_of_pooled_tokens_agree_with_one_another(pooling, causal, groups):
    packed = pack(groups, reading(pooling, causal))
    assert len(packed.num_pooled) == sum(len(group.response_ids) for group in groups)
    assert packed.pooled_sequence.tolist() == [
        number for number, count in enumerate(packed.num_pooled.tolist()) for _ in range(count)
    ]
    for tokens in packed.pooled.split(packed.num_pooled.tolist()):
        assert tokens.tolist() == sorted(set(tokens.tolist()))
    assert packed.kept.tolist() == sorted(set(packed.pooled.tolist()))


def test_a_beginning_like_the_first_response_s_is_read_once():
    packed = pack([TokenGroup([10, 11], [[20, 21, 22, 23], [20, 21, 30], [20, 21, 22, 23], [21, 40]])], reading())
    assert packed.input_ids.tolist() == [[10, 11, 20, 21, 22, 23, 30, 23, 21, 40]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 4, 5, 2, 3]]
    assert packed.pooled.tolist() == [5, 6, 7, 9]
    assert [tuple(segment) for segment in packed.plan.segments] == [
        (0, 2, 0, 0), (2, 6, 0, 2), (6, 7, 0, 4), (7, 8, 0, 5), (8, 10, 0, 2),
    ]  # fmt: skip


def test_a_small_row_is_as_drawn_in_the_module():
    packed = pack([TokenGroup([10, 11], [[20], [30, 31]]), TokenGroup([40], [[50]])], reading())
    assert packed.input_ids.tolist() == [[10, 11, 20, 30, 31, 40, 50]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 2, 3, 0, 1]]
    assert packed.pooled.tolist() == [2, 4, 6]
    assert [tuple(segment) for segment in packed.plan.segments] == [
        (0, 2, 0, 0), (2, 3, 0, 2), (3, 5, 0, 2), (5, 6, 5, 5), (6, 7, 5, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("causal", [True, False], ids=["decoder", "encoder"])
def test_the_token_to_read_must_be_in_every_sequence(causal):
    groups = [TokenGroup([CLS, 10], [[20]]), TokenGroup([10], [[CLS], [20]])]
    with pytest.raises(ModelError, match=f"token {CLS} is missing"):
        pack(groups, reading("token", causal))


@pytest.mark.parametrize("pooling", ["last", "mean_response"])
def test_a_sequence_without_a_token_to_read_is_an_error(pooling):
    with pytest.raises(ModelError):
        pack([TokenGroup([10, 11], [[], [20, 21]])], reading(pooling))


@given(token_groups())
def test_a_group_counts_its_tokens(groups):
    for group in groups:
        sequences = group.sequences()
        assert group.longest == max(sequence.num_tokens for sequence in sequences)
        assert group.num_tokens(shared=False) == sum(sequence.num_tokens for sequence in sequences)
        assert group.num_tokens(shared=True) == places_of_sequences([group], shared=True)[1]


@given(token_groups())
def test_everything_moves_to_the_device(groups):
    packed = pack(groups, reading("mean"))
    assume(len(packed.plan.segments) > 2)
    assert packed.plan.units  # made for this device; the moved plan must not keep them
    moved = packed.to(torch.device("meta"))
    for name in ("input_ids", "position_ids", "pooled", "pooled_sequence", "num_pooled", "kept"):
        before, after = getattr(packed, name), getattr(moved, name)
        assert (after.device.type, after.shape, after.dtype) == ("meta", before.shape, torch.int64)
    assert (moved.plan.segments, moved.plan.causal) == (packed.plan.segments, packed.plan.causal)
    masks = [mask for unit in moved.plan.units for _, mask in unit.masks if mask is not None]
    assert {mask.device.type for mask in [*masks, moved.plan.offsets.key_indices]} == {"meta"}
