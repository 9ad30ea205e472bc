import torch
from hypothesis import given
from hypothesis import strategies as st

from rm.model.padding import PaddedSequences, pad
from rm.model.token_ids import TokenIds

ids = st.lists(st.integers(1, 99), min_size=1, max_size=6)


def test_padding_is_on_the_right_and_masked():
    padded = pad([TokenIds([5, 6], [7]), TokenIds([5], [8, 9, 10])], pad_id=3)
    assert padded.input_ids.tolist() == [[5, 6, 7, 3], [5, 8, 9, 10]]
    assert padded.attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert padded.response_mask.tolist() == [[0, 0, 1, 0], [0, 1, 1, 1]]


@given(st.lists(st.builds(TokenIds, ids, ids), min_size=1, max_size=5), st.integers(0, 99))
def test_masks_give_back_every_sequence_in_its_place(sequences, pad_id):
    padded = pad(sequences, pad_id)
    assert padded.input_ids.shape[1] == max(sequence.num_tokens for sequence in sequences)
    rows = zip(sequences, padded.input_ids, padded.attention_mask, padded.response_mask, strict=True)
    for sequence, row, attention, response in rows:
        assert row[attention > 0].tolist() == [*sequence.prompt_ids, *sequence.response_ids]
        assert row[response > 0].tolist() == sequence.response_ids
        assert set(row[attention == 0].tolist()) <= {pad_id}


def test_every_tensor_moves_to_the_device():
    padded = pad([TokenIds([5, 6], [7])])
    moved = padded.to(torch.device("meta"))
    assert isinstance(moved, PaddedSequences)
    for tensor in (moved.input_ids, moved.attention_mask, moved.response_mask):
        assert tensor.device.type == "meta"
        assert (tensor.shape, tensor.dtype) == ((1, 3), torch.int64)
