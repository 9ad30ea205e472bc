import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.audit.config import AuditConfig
from rm.benchmarks import catalog, reward_bench
from rm.errors import AuditError, DataError
from rm.standalone import labelled_files, score_files

CONFIG = AuditConfig(num_resamples=100)


def two(subset, place, right):
    """A RewardBench row; the rewards are the numbers in the texts."""
    lost = (f"{place} right 1", f"{place} wrong {2 - place % 2}")  # by a tie at odd places
    sides = (f"{place} right 2", f"{place} wrong 1") if right else lost
    return {"prompt": f"{subset} {place}?", "chosen": sides[0], "rejected": sides[1], "subset": subset, "id": place}


def reward_of(text):
    return float(text.split()[-1])


def read_rows(folder, rows, name="data.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return labelled_files.read(path)


@pytest.fixture
def read(tmp_path):
    return lambda rows, name="data.jsonl": read_rows(tmp_path, rows, name)


def rewards_of(data, scorer=reward_of):
    return [np.array([scorer(text) for text in responses]) for _, responses in data.items]


def estimates(data, rewards):
    return {finding.name: finding.estimate for finding in data.formulas(rewards, CONFIG)}


def reward_bench_rows():
    """Accuracy 3/4 on alpacaeval-easy, 1/2 on mt-bench-med, 1/4 on math-prm, 1 on hep-go."""
    rights = {"alpacaeval-easy": "1110", "mt-bench-med": "10", "math-prm": "1000", "hep-go": "11"}
    return [two(subset, place, right == "1") for subset, marks in rights.items() for place, right in enumerate(marks)]


def test_reward_bench_weighs_subsets_by_its_own_counts(read):
    data = read(reward_bench_rows())
    found = estimates(data, rewards_of(data))
    chat, reasoning = (0.75 * 100 + 0.5 * 40) / 140, (0.25 * 984 + 164) / (984 + 164)
    assert found == pytest.approx(
        {
            "reward_bench/alpacaeval-easy": 0.75,
            "reward_bench/mt-bench-med": 0.5,
            "reward_bench/math-prm": 0.25,
            "reward_bench/hep-go": 1.0,
            "reward_bench/chat": chat,
            "reward_bench/reasoning": reasoning,
            "reward_bench/score": (chat + reasoning) / 2,
        }
    )


def test_the_sections_hold_the_23_subsets_and_math_counts_as_much_as_code():
    sizes = {name: sum(subsets.values()) for name, subsets in reward_bench.SECTIONS.items()}
    assert sum(len(subsets) for subsets in reward_bench.SECTIONS.values()) == 23
    assert sizes == {"chat": 358, "chat_hard": 456, "safety": 740, "reasoning": 2 * 984}
    assert sum(sizes.values()) - 984 + 447 == 2985


def test_a_tie_is_wrong_where_the_benchmark_says_so_and_half_right_in_the_audit(read):
    data = read([two("hep-go", place, right=False) for place in (1, 3)])
    found = estimates(data, rewards_of(data))
    assert found["reward_bench/hep-go"] == 0
    assert data.heldout(rewards_of(data), None).pairs.correct.tolist() == [0.5, 0.5]


def best_of(subset, key, chosen, rejected):
    sides = {
        "chosen": [f"right {place} {value}" for place, value in enumerate(chosen)],
        "rejected": [f"wrong {place} {value}" for place, value in enumerate(rejected)],
    }
    return {"prompt": f"{subset} {key}?", **sides, "num_correct": len(chosen), "subset": subset, "id": key}


def test_reward_bench_2_shares_the_credit_of_a_tie_for_the_best(read):
    rows = [
        best_of("Focus", "0", [3], [1, 2, 0]),
        best_of("Focus", "1", [3], [3, 2, 3]),
        best_of("Focus", "2", [1], [3, 2, 3]),
        best_of("Math", "3", [0], [0, 0, 0]),
    ]
    data = read(rows)
    expected = {"Focus": (1 + 1 / 3 + 0) / 3, "Math": 0.25}
    assert estimates(data, rewards_of(data)) == pytest.approx(
        {f"reward_bench_2/{name}": value for name, value in expected.items()}
        | {"reward_bench_2/score": sum(expected.values()) / 2}
    )


def slow_ties(rows):
    """The formula of the subset Ties, in words: one prompt after the other."""
    by_key = {
        row["id"]: tuple([reward_of(text) for text in row[side]] for side in ("chosen", "rejected")) for row in rows
    }
    refs = [sides for key, sides in by_key.items() if key.startswith("ref")]
    ties = [sides for key, sides in by_key.items() if key.startswith("tied")]

    def beats_all(sides):
        return all(right > wrong for right in sides[0] for wrong in sides[1])

    total = 0.3 * sum(map(beats_all, refs)) / len(refs) + 0.3 * sum(map(beats_all, ties)) / len(ties)
    shared = [key[5:] for key in by_key if key.startswith("tied") and f"ref:{key[5:]}" in by_key]
    for number in shared:
        (right, wrong), (ref_right, ref_wrong) = by_key[f"tied:{number}"], by_key[f"ref:{number}"]
        spread, gap = max(right) - min(right), min(right) - max(wrong)
        hard = min(gap, min(ref_right) - max(ref_wrong))
        excess = math.tanh(hard / spread - 1) if spread else (hard > 0) - (hard < 0)
        total += (0.2 * (gap > spread) + 0.2 * (hard > spread) + 0.01 * excess) / len(shared)
    return total


values = st.integers(0, 6)


@given(
    st.lists(
        st.tuples(
            values,
            st.lists(values, min_size=1, max_size=3),
            st.lists(values, min_size=1, max_size=3),
            st.lists(values, min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_ties_of_reward_bench_2_match_a_slow_loop(tmp_path_factory, drawn):
    rows = [best_of("Ties", "ref:99", [1], [0])]
    for number, (ref, ref_wrong, right, wrong) in enumerate(drawn):
        rows += [best_of("Ties", f"ref:{number}", [ref], ref_wrong), best_of("Ties", f"tied:{number}", right, wrong)]
    data = read_rows(tmp_path_factory.mktemp("ties"), rows)
    assert estimates(data, rewards_of(data))["reward_bench_2/Ties"] == pytest.approx(slow_ties(rows))


def test_a_perfect_model_of_ties_gets_a_hundredth_more_than_all(read):
    rows = [best_of("Ties", "ref:1", [9], [0]), best_of("Ties", "tied:1", [9, 9], [0, 1])]
    data = read(rows)
    assert estimates(data, rewards_of(data))["reward_bench_2/Ties"] == pytest.approx(1.01)


def styled(place, chosen, rejected, **change):
    sides = {
        name: [f"{name} {style} {value}" for style, value in enumerate(side)]
        for name, side in (("chosen", chosen), ("rejected", rejected))
    }
    return {"id": place, "prompt": f"prompt {place}", **sides, **change}


def test_rm_bench_takes_the_triangles_and_the_diagonal_of_its_matrix(read):
    # chosen i beats rejected j: rows i = (0 1 0), (1 1 0), (0 0 0), with a tie at (0, 0)
    rows = [styled(0, [2, 3, 0], [2, 1, 4]), styled(1, [9, 9, 9], [1, 1, 1])]
    data = read(rows, "chat_filtered.json")
    found = estimates(data, rewards_of(data))
    hard, normal, easy = (1 / 3 + 1) / 2, (1 / 3 + 1) / 2, (1 / 3 + 1) / 2
    assert found["rm_bench/chat/hard"] == pytest.approx(hard)
    assert found["rm_bench/chat/normal"] == pytest.approx(normal)
    assert found["rm_bench/chat/easy"] == pytest.approx(easy)
    assert found["rm_bench/score"] == pytest.approx((hard + normal + easy) / 3)


def test_rm_bench_prefers_fancy_responses_only_where_it_is_easy(read):
    data = read([styled(0, [1, 2, 3], [1, 2, 3])], "math_filtered.json")
    found = estimates(data, rewards_of(data))
    assert [found[f"rm_bench/{level}"] for level in ("hard", "normal", "easy")] == [0, 0, 1]


def test_both_parts_of_safety_are_one_domain(read):
    good, bad = ([2, 2, 2], [1, 1, 1]), ([1, 1, 1], [2, 2, 2])
    rows = [
        styled(0, *good, domain="safety-refuse"),
        styled(1, *bad, domain="safety-response"),
        styled(2, *bad, domain="safety-response"),
        styled(3, *good, domain="code"),
    ]
    data = read(rows)
    found = estimates(data, rewards_of(data))
    assert found["rm_bench/safety/score"] == pytest.approx(0.5)
    assert found["rm_bench/score"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        (
            "llmbar",
            [
                {"input": f"{place}?", "output_1": "one 1", "output_2": "two 2", "label": label}
                for place, label in enumerate([1, 2, 2])
            ],
        ),
        (
            "judgebench",
            [
                {"question": f"{place}?", "response_A": "one 1", "response_B": "two 2", "label": label}
                for place, label in enumerate(["A>B", "B>A", "B>A"])
            ],
        ),
    ],
)
def test_the_label_says_which_of_two_is_chosen(read, name, rows):
    data = read(rows, "natural.json")
    assert name == data.benchmark.benchmark.NAME
    assert list(data.heldout(rewards_of(data), None).pairs.chosen) == ["one 1", "two 2", "two 2"]
    assert estimates(data, rewards_of(data)) == pytest.approx({f"{name}/natural": 2 / 3, f"{name}/score": 2 / 3})


def test_every_number_has_an_interval_its_entries_and_a_method(read):
    data = read([two(name, place, place % 3 > 0) for name in ("mt-bench-med", "hep-go") for place in range(30)])
    found = {finding.name: finding for finding in data.formulas(rewards_of(data), CONFIG)}
    assert [found[f"reward_bench/{name}"].num_pairs for name in ("mt-bench-med", "chat", "score")] == [30, 30, 60]
    for finding in found.values():
        assert finding.ci_low < finding.estimate < finding.ci_high
        assert finding.estimate == pytest.approx(2 / 3)
    assert found["reward_bench/score"].method == "mean of 2 of 4 sections: chat, reasoning"


def test_an_entry_that_the_model_has_no_room_for_is_left_out(read):
    data = read([two("hep-go", 0, right=True), two("hep-go", 2, right=False)])
    rewards = rewards_of(data)
    rewards[1][0] = np.nan
    found = {finding.name: finding for finding in data.formulas(rewards, CONFIG)}
    assert (found["reward_bench/score"].estimate, found["reward_bench/score"].num_pairs) == (1.0, 1)
    rewards[0][1] = np.nan
    with pytest.raises(AuditError, match="reward_bench: none of 2 entries has the rewards of all its responses"):
        data.formulas(rewards, CONFIG)


def test_prompts_that_come_again_are_scored_once(read):
    same = {**two("hep-go", 0, right=True), "subset": "hep-js"}
    data = read([two("hep-go", 0, right=True), same])
    assert [len(responses) for _, responses in data.items] == [2]
    assert (data.num_rows, data.num_duplicates) == (2, 1)
    assert estimates(data, rewards_of(data))["reward_bench/hep-js"] == 1


def test_a_response_that_is_chosen_and_rejected_is_no_pair(read):
    data = read([{**best_of("Math", "1", [1], [0, 1]), "rejected": ["right 0 1", "wrong 0 0"]}])
    pairs = data.heldout(rewards_of(data), None).pairs
    assert (pairs.chosen, pairs.rejected) == (("right 0 1",), ("wrong 0 0",))
    assert data.num_duplicates == 1
    assert estimates(data, rewards_of(data))["reward_bench_2/score"] == 0.5


ONE_TIE = best_of("Ties", "tied:1", [1, 2], [0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [two("hep-go", 0, True), {**two("hep-go", 1, True), "subset": "mine"}],
            "row 2: expected a row of reward_bench",
        ),
        ([{**two("hep-go", 0, True), "chosen": 3}], "row 1: chosen: expected text, got int 3"),
        ([{**two("hep-go", 0, True), "prompt": " "}], "row 1: the user message in the prompt is empty"),
        ([{**ONE_TIE, "num_correct": 1}], "row 1: num_correct: expected 2, as many as chosen, got 1"),
        ([{**ONE_TIE, "id": "7"}], "row 1: id: expected ref:NUMBER or tied:NUMBER in the subset Ties, got '7'"),
        ([{**ONE_TIE, "rejected": []}], r"row 1: rejected: expected a list of texts, got list \[\]"),
        ([styled(0, [1, 2], [1, 2, 3], domain="chat")], "row 1: chosen: expected 3 texts, one per style, got 2"),
        ([styled(0, [1, 2, 3], [1, 2, 3])], "row 1: domain: expected one of chat, code, .* got 'data'"),
        ([{"input": "a", "output_1": "b", "output_2": "c", "label": 0}], "row 1: label: expected 1 or 2"),
        ([ONE_TIE, [1]], "row 2: expected a row of reward_bench_2"),
    ],
)
def test_a_bad_row_of_a_benchmark_is_an_error_that_names_it(read, tmp_path, rows, message):
    with pytest.raises(DataError, match=f"^{tmp_path}/data.jsonl: {message}"):
        read(rows)


def test_every_benchmark_says_what_its_rows_hold():
    assert len({benchmark.NAME for benchmark in catalog.BENCHMARKS}) == 5
    assert all(benchmark.KEYS for benchmark in catalog.BENCHMARKS)


def test_length_alone_is_right_on_rm_bench_where_it_is_easy(shared_data):
    data = labelled_files.read(shared_data / "rm_bench" / "chat_filtered.json.gz")
    found = estimates(data, rewards_of(data, len))
    assert found["rm_bench/chat/hard"] == pytest.approx(0.0258, abs=5e-5)
    assert found["rm_bench/chat/easy"] == pytest.approx(0.8114, abs=5e-5)
    # Characters tie in 28 of 387 comparisons of one style, which the benchmark counts as wrong; as half right they
    # would make it 0.320.
    assert found["rm_bench/chat/normal"] == pytest.approx(0.2842, abs=5e-5)
    rewards = rewards_of(data, len)
    wins = [
        np.sign(rewards[group][list(chosen)] - rewards[group][list(rejected)])
        for group, chosen, rejected in data.benchmark.places
    ]
    assert np.mean((np.array(wins) + 1) / 2) == pytest.approx(0.320, abs=5e-4)
    assert len(data.heldout(rewards_of(data, len), None).pairs.margin) == 9 * 129 - data.num_duplicates


def test_a_published_reward_model_is_right_on_218_of_350_judgebench_pairs(shared_data):
    (path,) = (shared_data / "judgebench").glob("*.jsonl.gz")
    data, heldout = labelled_files.read(path), score_files.read(path).heldout
    responses = heldout.responses
    keys = zip(responses.prompt.tolist(), responses.texts, strict=True)
    known = dict(zip(keys, responses.reward.tolist(), strict=True))
    rewards = [np.array([known[place, text] for text in texts]) for place, (_, texts) in enumerate(data.items)]
    found = {finding.name.removeprefix("judgebench/"): finding for finding in data.formulas(rewards, CONFIG)}
    counts = {"mmlu-pro": 154, "livebench-reasoning": 98, "livebench-math": 56, "livecodebench": 42, "score": 350}
    assert {name: finding.num_pairs for name, finding in found.items()} == counts
    assert found["score"].estimate == pytest.approx(218 / 350)
    np.testing.assert_array_equal(data.heldout(rewards, None).pairs.margin, heldout.pairs.margin)


@pytest.mark.parametrize(("name", "count", "first"), [("natural", 100, 42), ("manual", 46, 22), ("neighbor", 134, 75)])
def test_every_pair_of_llmbar_is_read(shared_data, name, count, first):
    path = shared_data / "llmbar" / f"{name}.json"
    data, rows = labelled_files.read(path), json.loads(path.read_text(encoding="utf-8"))
    assert (len(data.benchmark.entries), len(data.items)) == (count, count)
    chosen = [entry.chosen[0] for entry in data.benchmark.entries]
    assert chosen == [row[f"output_{row['label']}"] for row in rows]
    assert sum(row["label"] == 1 for row in rows) == first
