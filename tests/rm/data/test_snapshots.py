import gc
import itertools
import json
import random
import shutil
import unicodedata

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rm.data import annotation_table, by_prompt, prompt_groups, snapshots, store
from rm.data.config import IngestConfig, SnapshotConfig
from rm.data.manifests import DatasetManifest
from rm.data.preferences import SPLITS, Message, response_id, split_of
from rm.errors import DataError
from rm.manifests import is_whole

HALF = SnapshotConfig(heldout_share=0.5)


def row(number, first="good", second="bad", preference=1.0, **more):
    return {"prompt": f"prompt {number}", "first": first, "second": second, "preference": preference, **more}


def ingest(folder, *files):
    """Append each list of rows as a file of its own."""
    names = []
    for rows in files:
        path = folder / f"{len(list(folder.glob('*.jsonl')))}.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
        names.append(str(path))
    return store.append(names, folder / "table", IngestConfig()).table


def snapshot(folder, *files, config=HALF):
    folder.mkdir(exist_ok=True)
    table = ingest(folder, *files) if files else annotation_table.current(folder / "table")
    return snapshots.snapshot(table, config, folder / f"dataset-{table.version}")


def splits(dataset):
    return {each.prompt[0].content: split for split in SPLITS for each in prompt_groups.read_groups(dataset, split)}


VOTES = [
    row(number % 12, first, second, preference, annotator=annotator, attributes_first={"number": number})
    for number, ((first, second), preference, annotator) in enumerate(
        itertools.product(
            itertools.permutations(["one", "two ", "three", "four"], 2), [0.0, 0.3, 1.0], ["ann", "bob", None]
        )
    )
]


def test_the_manifest_counts_what_a_slow_count_finds(tmp_path):
    dataset = snapshot(tmp_path, VOTES, VOTES[:30])
    pairs = {(each["prompt"], frozenset([response_id(each["first"]), response_id(each["second"])])) for each in VOTES}
    sides = splits(dataset)
    assert dataset.num_rows == len({each["prompt"] for each in VOTES}) == len(sides)
    assert dataset.num_judgements == len(VOTES)
    for split in SPLITS:
        assert dataset.num_pairs[split] == sum(sides[prompt] == split for prompt, _ in pairs)
    assert (dataset.num_pairs["train"] > 0, dataset.num_pairs["heldout"] > 0) == (True, True)
    assert sum(dataset.num_pairs.values()) == len(pairs)


def test_a_snapshot_is_a_whole_folder_that_knows_its_table_and_files(tmp_path):
    table = ingest(tmp_path, VOTES)
    dataset = snapshots.snapshot(table, HALF, tmp_path / "dataset")
    assert is_whole(tmp_path / "dataset", DatasetManifest)
    assert DatasetManifest.read(tmp_path / "dataset") == dataset
    assert (dataset.inputs[0].path, dataset.inputs[0].digest) == (table.path, table.digest)
    assert dataset.table_version == table.version
    assert dataset.sources == annotation_table.source_digests(table)
    assert list(dataset.files) == ["dataset.parquet"]


def test_each_prompt_stands_once_on_the_side_that_its_id_says(tmp_path):
    spellings = [row(3), row(3, first=" good "), row(3, second="worse")]
    spellings[1]["prompt"] = " prompt 3\n"
    dataset = snapshot(tmp_path, VOTES, spellings)
    ids = pq.read_table(dataset.path / "dataset.parquet")["prompt_id"].to_pylist()
    assert ids == sorted(set(ids))
    groups = {split: prompt_groups.read_groups(dataset, split) for split in SPLITS}
    assert sorted(each.prompt_id for some in groups.values() for each in some) == ids
    for split, some in groups.items():
        assert [each.prompt_id for each in some] == [each for each in ids if split_of(each, 0.5) == split]
    texts = [each.prompt[0].content.strip() for some in groups.values() for each in some]
    assert len(set(texts)) == len(texts)


def test_groups_say_what_was_judged(tmp_path):
    several = [{"role": "system", "content": "s"}, {"role": "user", "content": unicodedata.normalize("NFD", "é")}]
    votes = [
        row(0, "a", "b", 1.0, annotator="ann", domain="chat", target_margin=1.0, weight=2.0),
        row(0, "b", "a", 1.0, annotator="bob", domain="chat", target_margin=3.0),
        row(0, "a", "c", 0.25),
    ]
    votes[0] |= {"attributes_first": {"verbosity": 1, "helpfulness": 4}}
    votes[1] |= {"attributes_second": {"helpfulness": 1}, "attributes_first": {"helpfulness": None, "verbosity": 2}}
    for each in votes:
        each["prompt"] = several
    dataset = snapshot(tmp_path, votes, VOTES)
    prompt = tuple(Message(**turn) for turn in several)
    (found,) = [each for split in SPLITS for each in prompt_groups.read_groups(dataset, split) if each.prompt == prompt]
    assert sorted(found.responses) == ["a", "b", "c"]
    assert found.domain == "chat"
    attributes = dict(zip(found.responses, found.response_attributes, strict=True))
    assert attributes == {"a": {"helpfulness": 2.5, "verbosity": 1.0}, "b": {"verbosity": 2.0}, "c": {}}
    by_texts = {
        frozenset([found.responses[each.first], found.responses[each.second]]): each for each in found.comparisons
    }
    contradicted, single = by_texts[frozenset("ab")], by_texts[frozenset("ac")]
    assert (contradicted.preference, contradicted.num_judgements) == (0.5, 2)
    assert (contradicted.target_margin, contradicted.weight) == (2.0, 1.5)
    for_a = single.preference if found.responses[single.first] == "a" else 1 - single.preference
    assert (for_a, single.num_judgements) == (0.25, 1)


def test_sampling_probabilities_are_kept_and_only_some_of_held_out_pairs_are_refused(tmp_path):
    def rows(count):
        return [row(number, sampling_probability=0.25 if number < count else None) for number in range(40)]

    found = snapshot(tmp_path / "all", rows(40))
    pairs = [pair for split in SPLITS for each in prompt_groups.read_groups(found, split) for pair in each.comparisons]
    assert [pair.sampling_probability for pair in pairs] == [0.25] * 40
    with pytest.raises(DataError, match=r"sampling_probability: expected it of every held-out pair or of none, got it"):
        snapshot(tmp_path / "some", rows(20))


def test_the_file_has_the_promised_schema(tmp_path):
    dataset = snapshot(tmp_path, VOTES)
    assert pq.read_schema(dataset.path / "dataset.parquet").equals(prompt_groups.GROUP_SCHEMA)


def test_the_digest_does_not_depend_on_the_order_the_split_into_files_or_the_place(tmp_path):
    shuffled = random.Random(0).sample(VOTES, len(VOTES))
    orders = {
        "as they come": [VOTES],
        "backwards": [VOTES[::-1]],
        "three files": [VOTES[40:], VOTES[:20], VOTES[20:40]],
        "repeated": [shuffled, VOTES[:10], shuffled],
    }
    digests = {name: snapshot(tmp_path / name, *files).digest for name, files in orders.items()}
    assert len(set(digests.values())) == 1, digests
    assert snapshot(tmp_path / "one less", VOTES[1:]).digest not in digests.values()


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(VOTES), min_size=20, max_size=40), st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_any_votes(tmp_path_factory, votes, shuffler):
    folder = tmp_path_factory.mktemp("orders")
    votes = [*votes, *(row(number) for number in range(20))]  # so that neither split is empty
    shuffled = shuffler.sample(votes, len(votes))
    cut = shuffler.randrange(len(votes))
    here, there = snapshot(folder / "here", votes), snapshot(folder / "there", shuffled[:cut], shuffled[cut:])
    assert here.digest == there.digest
    assert here.num_pairs == there.num_pairs
    shutil.rmtree(folder)


def test_a_snapshot_taken_again_is_the_same_and_an_older_one_stays_takeable(tmp_path):
    table = ingest(tmp_path, VOTES)
    first = snapshots.snapshot(table, HALF, tmp_path / "first")
    ingest(tmp_path, [row(100)])
    again = snapshots.snapshot(table, HALF, tmp_path / "again")
    assert (again.digest, again.sources, again.num_judgements) == (first.digest, first.sources, len(VOTES))


def test_a_prompt_never_changes_sides_when_data_is_added(tmp_path):
    before = splits(snapshot(tmp_path, [row(number) for number in range(50)]))
    more = [row(number, second="worst") for number in range(25)] + [row(number) for number in range(50, 200)]
    after = splits(snapshot(tmp_path, more))
    assert len(after) == 200
    assert before == {prompt: split for prompt, split in after.items() if prompt in before}
    assert set(before.values()) == {"train", "heldout"}


def test_held_out_prompts_stay_held_out_when_the_share_grows(tmp_path):
    table = ingest(tmp_path, [row(number) for number in range(200)])
    heldout = []
    for share in (0.1, 0.3, 0.8):
        dataset = snapshots.snapshot(table, SnapshotConfig(heldout_share=share), tmp_path / str(share))
        heldout.append({prompt for prompt, split in splits(dataset).items() if split == "heldout"})
    assert heldout[0] < heldout[1] < heldout[2]


def test_a_validation_share_takes_prompts_from_training_and_leaves_the_held_out_ones(tmp_path):
    table = ingest(tmp_path, [row(number) for number in range(200)])
    found, counts = {}, {}
    for share in (0.0, 0.1, 0.4):
        dataset = snapshots.snapshot(
            table, SnapshotConfig(heldout_share=0.3, validation_share=share), tmp_path / str(share)
        )
        found[share], counts[share] = splits(dataset), dataset.num_pairs

    def prompts(share, split):
        return {prompt for prompt, side in found[share].items() if side == split}

    assert prompts(0.0, "heldout") == prompts(0.1, "heldout") == prompts(0.4, "heldout")
    assert set() == prompts(0.0, "validation") < prompts(0.1, "validation") < prompts(0.4, "validation")
    assert prompts(0.4, "validation") | prompts(0.4, "train") == prompts(0.0, "train")
    for share, num_pairs in counts.items():
        assert num_pairs == {split: len(prompts(share, split)) for split in SPLITS}


def test_validation_prompts_do_not_depend_on_the_other_data(tmp_path):
    config = SnapshotConfig(heldout_share=0.3, validation_share=0.3)
    before = splits(snapshot(tmp_path, [row(number) for number in range(50)], config=config))
    after = splits(snapshot(tmp_path, [row(number) for number in range(50, 150)], config=config))
    assert before == {prompt: split for prompt, split in after.items() if prompt in before}
    assert set(before.values()) == set(SPLITS)


def test_a_validation_split_that_would_be_empty_is_an_error_that_names_its_setting(tmp_path):
    config = SnapshotConfig(heldout_share=0.5, validation_share=1e-9)
    counts = r"leaves \d+ training, 0 validation and \d+ held-out pairs"
    with pytest.raises(DataError, match=rf"{counts}; more annotations or .* snapshot\.validation_share are needed"):
        snapshot(tmp_path, [row(number) for number in range(50)], config=config)
    assert not list(tmp_path.glob("dataset-*/*"))


def test_the_salt_changes_which_prompts_are_held_out_and_the_digest(tmp_path):
    table = ingest(tmp_path, [row(number) for number in range(50)])
    plain = snapshots.snapshot(table, HALF, tmp_path / "plain")
    salted = snapshots.snapshot(table, SnapshotConfig(heldout_share=0.5, salt="other"), tmp_path / "salted")
    assert splits(plain) != splits(salted)
    assert len({plain.digest, salted.digest}) == len({plain.config_digest, salted.config_digest}) == 2


@pytest.mark.parametrize("rows", [[], [row(0)], [row(0, second=f"bad {number}") for number in range(9)]])
def test_a_split_that_would_be_empty_is_an_error_that_leaves_no_snapshot(tmp_path, rows):
    num_pairs = len(rows)
    side = split_of(snapshot_prompt_id(tmp_path, rows), 0.5) if rows else "train"
    counts = (num_pairs, 0) if side == "train" else (0, num_pairs)
    with pytest.raises(DataError, match=f"leaves {counts[0]} training, 0 validation and {counts[1]} held-out"):
        snapshot(tmp_path, rows)
    assert not list(tmp_path.glob("dataset-*/*"))


def snapshot_prompt_id(folder, rows):
    table = ingest(folder, rows)
    (identifier,) = {judgement.prompt_id for judgement in annotation_table.judgements(table)}
    return identifier


def test_texts_come_back_as_they_were_stored(tmp_path):
    texts = ["👍 \0 \r\n", " \u2028spaced ", "é", "long " * 20_000]
    rows = [row(number, first=f"{text}1", second=f"2{text}") for number, text in enumerate(texts * 5)]
    dataset = snapshot(tmp_path, rows)
    groups = [each for split in SPLITS for each in prompt_groups.read_groups(dataset, split)]
    found = {text for each in groups for text in each.responses}
    assert found == {text for each in rows for text in (each["first"], each["second"])}


@pytest.mark.parametrize("at_once", [50, 10_000])
def test_references_free_all_that_a_snapshot_makes(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(by_prompt, "JUDGEMENTS_AT_ONCE", at_once)
    snapshot(tmp_path, [row(number) for number in range(300)])
    gc.collect()
    snapshots.snapshot(annotation_table.current(tmp_path / "table"), HALF, tmp_path / "again")
    assert gc.collect() < 300  # objects; each row has several
    assert gc.isenabled()


def test_garbage_is_collected_again_after_a_snapshot_that_failed(tmp_path):
    with pytest.raises(DataError):
        snapshot(tmp_path, [row(0)])
    assert gc.isenabled()
