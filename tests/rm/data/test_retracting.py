"""Retracted judgements: counted, left out of snapshots, never brought back by a file, restored on request."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from rm.data import annotation_table, id_lists, prompt_groups, quarantine, snapshots, store
from rm.data.config import IngestConfig, SnapshotConfig
from rm.data.preferences import SPLITS
from rm.data.retracting import Choice, change, listed
from rm.errors import DataError


def row(number, **changes):
    return {"prompt": f"prompt {number}", "first": "good", "second": "bad", "preference": 1.0, **changes}


def write(path, rows):
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows), encoding="utf-8")
    return str(path)


def append(at, work, *names):
    return store.append(names, at, IngestConfig(), work)


def retract(at, why="wrong labels", dry_run=False, **choice):
    return change(at, Choice(**choice), "retract", why, dry_run=dry_run)


def restore(at, **choice):
    return change(at, Choice(**choice), "restore", "they were right")


def counts(at):
    table = annotation_table.current(at)
    assert len(list(annotation_table.judgements(table))) == table.num_judgements
    assert table.num_stored == table.num_judgements + table.num_retracted
    return table.num_stored, table.num_judgements, table.num_retracted


def prompts(at):
    return {judgement.prompt[0].content for judgement in annotation_table.judgements(annotation_table.current(at))}


@pytest.fixture(params=["folder", "url"])
def at(request, tmp_path):
    return tmp_path / "table" if request.param == "folder" else request.getfixturevalue("bucket") / "table"


def test_a_source_is_retracted_stays_so_when_it_is_read_again_and_comes_back(at, tmp_path):
    good = write(tmp_path / "good.jsonl", [row(number) for number in range(6)])
    bad = write(tmp_path / "bad.jsonl", [row(number, weight=2.0) for number in range(10, 14)])
    before = append(at, tmp_path / "work", good).table
    everything = append(at, tmp_path / "work", bad).table
    assert retract(at, source=bad, dry_run=True)[:2] == (4, 4)
    assert counts(at) == (10, 10, 0)
    changed = retract(at, source=bad)
    assert changed[:2] == (4, 4)
    assert changed.first[0].startswith(f"{bad}: line ")
    assert counts(at) == (10, 6, 4)
    after = annotation_table.current(at)
    assert after.digest == before.digest != everything.digest
    assert list(annotation_table.source_digests(after)) == [good]
    again = append(at, tmp_path / "work", bad, write(tmp_path / "more.jsonl", [row(10, weight=2.0), row(20)]))
    assert (again.sources[0].num_duplicates, again.sources[1].num_stored) == (4, 1)
    assert counts(at) == (11, 7, 4)
    assert retract(at, source=bad)[:2] == (4, 0)
    assert restore(at, source=bad)[:2] == (4, 4)
    assert counts(at) == (11, 11, 0)
    assert retract(at, where="weight = 2")[:2] == (4, 4)
    assert restore(at, where="true")[:2] == (11, 4)
    assert counts(at) == (11, 11, 0)


def test_a_version_that_was_read_before_keeps_what_counted_then(tmp_path):
    at = tmp_path / "table"
    name = write(tmp_path / "a.jsonl", [row(number) for number in range(5)])
    versions = [append(at, None, name).table]
    for action in (retract, restore, retract):
        action(at, where="line <= 2")
        versions.append(annotation_table.current(at))
    assert [len(list(annotation_table.judgements(each))) for each in versions] == [5, 3, 5, 3]
    assert len({each.digest for each in versions}) == 2
    assert versions[0].digest == versions[2].digest
    assert {each.version for each in versions} == {versions[0].version}


@pytest.mark.parametrize(
    "attributes", [{}, {"attributes_first": {"a": 1.0}, "domain": "x", "sampling_probability": 0.5}]
)
def test_the_digest_is_that_of_a_table_that_never_had_the_rows(tmp_path, attributes):
    rows = [row(number, **attributes) for number in range(30)]
    append(tmp_path / "table", None, write(tmp_path / "a.jsonl", rows))
    kept = append(tmp_path / "other", None, write(tmp_path / "b.jsonl", rows[::3])).table
    retract(tmp_path / "table", where="line % 3 <> 1")
    assert annotation_table.current(tmp_path / "table").digest == kept.digest


def test_a_snapshot_leaves_retracted_judgements_out_and_says_how_many(tmp_path):
    at = tmp_path / "table"
    append(at, None, write(tmp_path / "a.jsonl", [row(number) for number in range(40)]))
    retract(at, where="prompt[1]['content'] = 'prompt 7' OR line = 10")
    dataset = snapshots.snapshot(annotation_table.current(at), SnapshotConfig(heldout_share=0.5), tmp_path / "snapshot")
    assert (dataset.num_rows, dataset.num_judgements, dataset.num_retracted) == (38, 38, 2)
    found = {group.prompt[0].content for split in SPLITS for group in prompt_groups.read_groups(dataset, split)}
    assert found == {f"prompt {number}" for number in range(40) if number not in (7, 9)}
    retract(at, where="true")
    with pytest.raises(DataError, match="the split of 0 prompts \\(0 judgements, 40 more are retracted\\)"):
        snapshots.snapshot(annotation_table.current(at), SnapshotConfig(), tmp_path / "none")


def test_a_snapshot_leaves_out_what_a_file_names_and_says_how_many(tmp_path):
    at = tmp_path / "table"
    append(at, None, write(tmp_path / "a.jsonl", [row(number) for number in range(40)]))
    retract(at, where="line = 1")
    table = annotation_table.current(at)
    named = {each.prompt[0].content: each.judgement_id for each in annotation_table.judgements(table)}
    file = tmp_path / "ids.txt"
    id_lists.write(file, [named["prompt 7"], named["prompt 9"], "0" * 64], ["found by hand"])
    config = SnapshotConfig(heldout_share=0.5, exclude=file)
    dataset = snapshots.snapshot(table, config, tmp_path / "snapshot")
    assert (dataset.num_judgements, dataset.num_retracted, dataset.num_excluded) == (37, 1, 2)
    assert snapshots.num_unknown(table, dataset) == 1
    assert snapshots.read_excluded(dataset) == id_lists.read(file)
    found = {group.prompt[0].content for split in SPLITS for group in prompt_groups.read_groups(dataset, split)}
    assert found == {f"prompt {number}" for number in range(40) if number not in (0, 7, 9)}
    whole = snapshots.snapshot(table, SnapshotConfig(heldout_share=0.5), tmp_path / "whole")
    assert snapshots.read_excluded(whole) == frozenset()
    kept = [group for split in SPLITS for group in prompt_groups.read_groups(whole, split)]
    left = [group for split in SPLITS for group in prompt_groups.read_groups(dataset, split)]
    assert left == [group for group in kept if group.prompt[0].content in found]
    retract(at, ids=id_lists.read(file))  # the recipe still leaves them out
    again = snapshots.snapshot(annotation_table.current(at), config, tmp_path / "again")
    assert (again.num_judgements, again.num_retracted, again.num_excluded) == (37, 3, 0)
    assert snapshots.num_unknown(annotation_table.current(at), again) == 1
    id_lists.write(file, ["0" * 64])
    with pytest.raises(DataError, match="which has none of the 1 in this file"):
        snapshots.snapshot(annotation_table.current(at), config, tmp_path / "foreign")


def test_the_file_also_says_what_to_retract(at, tmp_path):
    append(at, tmp_path / "work", write(tmp_path / "a.jsonl", [row(number) for number in range(5)]))
    judged = list(annotation_table.judgements(annotation_table.current(at)))
    file = tmp_path / "ids.txt"
    id_lists.write(file, [each.judgement_id for each in judged[:2]])
    file.write_text(f"\ufeff{file.read_text()}", encoding="utf-8")  # as some editors write it
    assert retract(at, ids=id_lists.read(file))[:2] == (2, 2)
    assert prompts(at) == {each.prompt[0].content for each in judged[2:]}
    assert restore(at, ids=id_lists.read(file))[:2] == (2, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected a judgement_id a line, the file names none"),
        ("# nothing\n\n", "expected a judgement_id a line, the file names none"),
        (f"{'a' * 64}\nxyz\n", "line 2: expected a judgement_id, 64 hexadecimal digits, got xyz"),
        (None, "expected a file with a judgement_id a line: No such file or directory"),
        (f"{'a' * 64} # no such row\n", "which has none of the 1 in this file"),
    ],
)
def test_a_file_that_names_nothing_is_told_in_one_sentence(tmp_path, text, sentence):
    at, file = tmp_path / "table", tmp_path / "ids.txt"
    append(at, None, write(tmp_path / "a.jsonl", [row(number) for number in range(40)]))
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        snapshots.snapshot(annotation_table.current(at), SnapshotConfig(exclude=file), tmp_path / "snapshot")
    assert str(file) in str(caught.value) and sentence in str(caught.value)


def test_a_prompt_that_a_model_refuses_does_not_bring_its_retracted_rows_into_quarantine(tmp_path):
    at = tmp_path / "table"
    append(at, None, write(tmp_path / "a.jsonl", [row(1), row(1, annotator="x"), row(2)]))
    retract(at, where="annotator = 'x'")
    table = annotation_table.current(at)
    reasons = {judgement.prompt_id: "no" for judgement in annotation_table.judgements(table)}
    assert len(quarantine.add_prompts(table, reasons)) == 2


def test_one_judgement_is_chosen_by_the_beginning_of_its_id(tmp_path):
    at = tmp_path / "table"
    append(at, None, write(tmp_path / "a.jsonl", [row(number) for number in range(40)]))
    (judgement, *_) = annotation_table.judgements(annotation_table.current(at))
    assert retract(at, judgement_id=judgement.judgement_id[:12])[:2] == (1, 1)
    assert judgement.prompt[0].content not in prompts(at)
    with pytest.raises(DataError, match="expected the beginning of one id, got that of"):
        retract(at, judgement_id=judgement.judgement_id[0])


def test_writers_at_once_retract_each_judgement_once_and_lose_no_row(tmp_path):
    at = tmp_path / "table"
    append(at, None, write(tmp_path / "a.jsonl", [row(number) for number in range(30)]))
    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(retract, at, where=f"line <= {most}") for most in (10, 20, 20)]
        jobs += [pool.submit(append, at, None, write(tmp_path / f"{n}.jsonl", [row(100 + n)])) for n in range(2)]
        for job in jobs:
            job.result()
    assert counts(at) == (32, 12, 20)
    assert restore(at, where="true")[1] == 20
    assert counts(at) == (32, 32, 0)


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"source": "b.jsonl"}, "annotations: no judgement has the source b.jsonl; there are "),
        ({"judgement_id": "xyz"}, "annotations: no judgement has the id xyz"),
        ({"where": "line > 100"}, "annotations: no judgement has what --where asks for: line > 100"),
        ({"where": "lines > 100"}, "--where: lines > 100: Schema error: No field named lines"),
        ({"where": "line >"}, "--where: line >: SQL error: "),
        ({"where": "true); DROP TABLE annotations; --"}, "--where: true); DROP TABLE annotations; --: "),
        ({"source": "a", "why": " "}, "expected a reason with --why, got an empty one"),
    ],
)
def test_a_choice_that_is_none_is_told_in_one_sentence(tmp_path, choice, sentence):
    at = tmp_path / "table"
    append(at, None, write(tmp_path / "a.jsonl", [row(1)]))
    with pytest.raises(DataError) as caught:
        retract(at, **choice)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert counts(at) == (1, 1, 0)


def test_a_table_that_is_not_there_is_named(tmp_path):
    for call in (lambda: retract(tmp_path, where="true"), lambda: listed(tmp_path)):
        with pytest.raises(DataError, match="annotations: no annotations yet"):
            call()


def test_each_source_is_listed_with_what_it_has(tmp_path):
    at = tmp_path / "table"
    names = [write(tmp_path / f"{n}.jsonl", [row(10 * n + place) for place in range(n + 1)]) for n in range(3)]
    append(at, None, *names)
    retract(at, where="line = 2")
    assert listed(at) == [(names[0], 1, 0), (names[1], 2, 1), (names[2], 3, 1)]
