import hashlib
import json
import math
import statistics
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data.preferences import SPLITS, Judgement, Message, group, problem, prompt_id, response_id, split_of

NFC, NFD = unicodedata.normalize("NFC", "Café à Zürich"), unicodedata.normalize("NFD", "Café à Zürich")
SHARES = st.integers(0, 1000).map(lambda n: n / 1000)


def ask(text):
    return (Message("user", text),)


def judge(first="a", second="b", preference=1.0, prompt="q", **more):
    return Judgement(prompt=ask(prompt), first=first, second=second, preference=preference, **more)


def swapped(judgement, preference=None):
    share = 1 - judgement.preference if preference is None else preference
    return replace(
        judgement,
        first=judgement.second,
        second=judgement.first,
        preference=share,
        attributes_first=judgement.attributes_second,
        attributes_second=judgement.attributes_first,
    )


ATTRIBUTES = st.dictionaries(st.sampled_from(["helpfulness", "verbosity", "é"]), st.sampled_from([0.0, 0.1, 0.2, -3.0]))
JUDGEMENTS = st.builds(
    judge,
    first=st.sampled_from(["a", "b ", " b"]),
    second=st.sampled_from(["c", "d", NFC, NFD]),
    preference=st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0]),
    prompt=st.sampled_from(["q", "q ", "other"]),
    target_margin=st.sampled_from([0.0, 0.1, 0.2, 3.0]),
    weight=st.sampled_from([0.1, 1.0, 2.0]),
    sampling_probability=st.sampled_from([None, 0.1, 1.0]),
    attributes_first=ATTRIBUTES,
    attributes_second=ATTRIBUTES,
    annotator=st.sampled_from([None, "ann", "bob"]),
    created_at=st.sampled_from([None, "2024-01-01"]),
    domain=st.sampled_from([None, "code", "chat"]),
)
MIXED = st.builds(lambda judgement, swap: swapped(judgement) if swap else judgement, JUDGEMENTS, st.booleans())


# Ids


@given(SHARES, st.text(max_size=3), st.text(max_size=3))
def test_swapping_the_responses_does_not_change_the_judgement_id(share, first, second):
    judgement = judge(f"a{first}", f"b{second}", share)
    assert swapped(judgement).judgement_id == judgement.judgement_id
    assert swapped(swapped(judgement)).judgement_id == judgement.judgement_id


@given(st.integers(0, 1000))
def test_swapping_does_not_change_the_judgement_id_when_both_shares_were_written_as_decimals(thousandths):
    here, there = float(f"{thousandths / 1000:.3f}"), float(f"{(1000 - thousandths) / 1000:.3f}")  # 0.7 and 0.3
    assert judge("a", "b", here).judgement_id == judge("b", "a", there).judgement_id
    assert judge("b", "a", here).judgement_id == judge("a", "b", there).judgement_id


@pytest.mark.parametrize(
    "change",
    [
        {"preference": 0.0},
        {"preference": 0.999},
        {"annotator": "ann"},
        {"created_at": "2024-01-01"},
        {"target_margin": 1.0},
        {"first": "c"},
        {"second": "c"},
        {"first": "b", "second": "a"},
        {"prompt": ask("other")},
    ],
)
def test_judgement_id_changes_with_what_was_judged_and_by_whom(change):
    assert replace(judge(), **change).judgement_id != judge().judgement_id


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 2.0},
        {"sampling_probability": 0.5},
        {"domain": "code"},
        {"attributes_first": {"helpfulness": 4.0}},
        {"attributes_second": {"b": 0.0}},
    ],
)
def test_judgement_id_does_not_change_with_what_may_be_corrected(change):
    assert replace(judge(), **change).judgement_id == judge().judgement_id


def test_judgement_ids_of_all_different_judgements_differ():
    told_apart = [
        judge(first, second, preference, prompt, annotator=annotator, created_at=created_at)
        for first, second in (("a", "b"), ("a", "c"), ("b", "c"), ("ab", "c"), ("a", "bc"))
        for preference in (0.0, 0.25, 0.5, 1.0)
        for prompt in ("p", "q")
        for annotator in (None, "ann", "bob")
        for created_at in (None, "ann")
    ]
    assert len({judgement.judgement_id for judgement in told_apart}) == len(told_apart) == 5 * 4 * 2 * 3 * 2


@pytest.mark.parametrize("variant", [NFD, f" {NFC}", f"{NFC}\n", f"\t{NFD} \r\n", f"\u3000{NFC}\u2028"])
def test_spellings_of_one_text_share_prompt_and_response_id(variant):
    assert prompt_id(ask(variant)) == prompt_id(ask(NFC))
    assert response_id(variant) == response_id(NFC)


@pytest.mark.parametrize(
    ("one", "other"), [("Café", "café"), ("a b", "a  b"), ("a", "a."), ("ﬁ", "fi"), ("x²", "x2"), ("a", ""), ("é", "e")]
)
def test_texts_that_differ_have_different_ids(one, other):
    assert prompt_id(ask(one)) != prompt_id(ask(other))
    assert response_id(one) != response_id(other)


def test_prompt_id_sees_roles_turns_and_where_one_turn_ends():
    prompts = [
        (Message("user", "a"), Message("user", "b")),
        (Message("user", "b"), Message("user", "a")),
        (Message("user", "a"), Message("assistant", "b")),
        (Message("user", "ab"),),
        (Message("user", "a\nb"),),
        (Message("system", "a"), Message("user", "b")),
    ]
    ids = {prompt_id(prompt) for prompt in prompts}
    assert len(ids) == len(prompts)
    assert all(len(found) == 32 and int(found, 16) >= 0 for found in ids)


# What cannot be used


def test_a_plain_judgement_has_no_problem():
    several = (Message("system", "s"), Message("user", "u"), Message("assistant", "a"), Message("user", "u"))
    for judgement in (judge(), judge(preference=0.0), judge(preference=0.5), replace(judge(), prompt=several)):
        assert problem(judgement) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": ()}, "the prompt must end with a user message or a tool's result, it ends with nothing"),
        (
            {"prompt": (Message("assistant", "hi"),)},
            "must end with a user message or a tool's result, it ends with assistant",
        ),
        (
            {"prompt": (Message("critic", "x"), *ask("q"))},
            "role 'critic' in the prompt; expected one of tools, system, us",
        ),
        ({"prompt": ask(" \n\u3000")}, "the user message in the prompt is empty"),
        ({"prompt": (*ask(""), Message("assistant", "hi"), *ask("q"))}, "the user message in the prompt is empty"),
        ({"prompt": (Message("system", ""), *ask("q"))}, "the system message in the prompt is empty"),
        ({"first": ""}, "the first response is empty"),
        ({"second": "\t"}, "the second response is empty"),
        ({"first": "a\ud800"}, "the first response holds half a surrogate pair"),
        ({"second": "\udfffb"}, "the second response holds half a surrogate pair"),
        ({"prompt": ask("\udc00")}, "the user message in the prompt holds half a surrogate pair"),
        ({"prompt": (*ask("\ud83d"), *ask("q"))}, "the user message in the prompt holds half a surrogate pair"),
        ({"annotator": "\ud800"}, "annotator holds half a surrogate pair"),
        ({"created_at": "\ud800"}, "created_at holds half a surrogate pair"),
        ({"domain": "\ud800"}, "domain holds half a surrogate pair"),
        ({"first": "b"}, "both responses are the same text"),
        ({"first": NFC, "second": f" {NFD}\n"}, "both responses are the same text"),
        ({"preference": math.nan}, "preference nan is not in [0, 1]"),
        ({"preference": 1.0000001}, "preference 1.0000001 is not in [0, 1]"),
        ({"preference": -1e-9}, "preference -1e-09 is not in [0, 1]"),
        ({"preference": math.inf}, "preference inf is not in [0, 1]"),
        ({"target_margin": math.nan}, "target_margin: expected a number from 0 to 1000, got nan"),
        ({"target_margin": -1.0}, "target_margin: expected a number from 0 to 1000, got -1"),
        ({"target_margin": 1e9}, "target_margin: expected a number from 0 to 1000, got 1e+09"),
        ({"weight": 0.0}, "weight: expected a number from 1e-06 to 1e+06, got 0"),
        ({"weight": math.nan}, "weight: expected a number from 1e-06 to 1e+06, got nan"),
        ({"weight": 1e300}, "weight: expected a number from 1e-06 to 1e+06, got 1e+300"),
        ({"weight": 1e-300}, "weight: expected a number from 1e-06 to 1e+06, got 1e-300"),
        ({"sampling_probability": 0.0}, "sampling_probability: expected a number from 1e-09 to 1, got 0"),
        ({"sampling_probability": 1e-300}, "sampling_probability: expected a number from 1e-09 to 1, got 1e-300"),
        ({"sampling_probability": 1.01}, "sampling_probability: expected a number from 1e-09 to 1, got 1.01"),
        ({"sampling_probability": math.nan}, "sampling_probability: expected a number from 1e-09 to 1, got nan"),
        ({"attributes_first": {"a": 1.0, " ": 1.0}}, "attributes_first: expected a name for each value, got ' '"),
        ({"attributes_second": {"": 1.0}}, "attributes_second: expected a name for each value, got ''"),
        (
            {"attributes_first": {"a": math.nan}},
            "attributes_first.a: expected 0 or a number of size 1e-100",
        ),
        ({"attributes_second": {"a": 1.0, "b": -1e7}}, "attributes_second.b: expected 0 or a number of size 1e-100 to"),
        ({"attributes_second": {"a": 1e-300}}, "attributes_second.a: expected 0 or a number of size 1e-100 to 1e+06"),
        ({"attributes_second": {"a\ud800": 1.0}}, "the attributes_second name holds half a surrogate pair"),
    ],
)
def test_each_problem_is_found_and_named(change, reason):
    assert reason in problem(replace(judge(), **change))


@given(st.text(st.characters(categories=["L", "N", "Cs", "So"]), min_size=1, max_size=5))
def test_what_has_no_problem_can_be_digested_and_written_as_utf_8(text):
    judgement = judge(f"{text}1", f"{text}2", prompt=text, annotator=text)
    if problem(judgement) is None:
        assert judgement.judgement_id
        assert text.encode("utf-8")
    else:
        with pytest.raises(UnicodeEncodeError):
            text.encode("utf-8")


# Groups


@given(st.lists(MIXED, max_size=12), st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_the_judgements(judgements, shuffler):
    shuffled = shuffler.sample(judgements, len(judgements))
    assert group(shuffled) == group(judgements)


@given(st.lists(MIXED, max_size=12))
def test_groups_agree_with_a_slow_count(judgements):
    groups = group(judgements)
    assert [found.prompt_id for found in groups] == sorted({judgement.prompt_id for judgement in judgements})
    for found in groups:
        mine = [judgement for judgement in judgements if judgement.prompt_id == found.prompt_id]
        texts = {response_id(text) for judgement in mine for text in (judgement.first, judgement.second)}
        assert {response_id(text) for text in found.responses} == texts
        assert len(found.responses) == len(texts)
        assert sum(comparison.num_judgements for comparison in found.comparisons) == len(mine)
        for comparison in found.comparisons:
            assert_merged(comparison, found.responses[comparison.first], found.responses[comparison.second], mine)


def assert_merged(comparison, first, second, judgements):
    """Votes of one pair counted anew, always from the side of the comparison's first response."""
    about = []
    for judgement in judgements:
        if (response_id(judgement.first), response_id(judgement.second)) == (response_id(first), response_id(second)):
            about.append((judgement, judgement.preference))
        elif (response_id(judgement.second), response_id(judgement.first)) == (response_id(first), response_id(second)):
            about.append((judgement, 1 - judgement.preference))
    votes = [share for judgement, share in about if judgement.annotator is None]
    for name in {judgement.annotator for judgement, _ in about} - {None}:
        votes.append(statistics.fmean(share for judgement, share in about if judgement.annotator == name))
    assert comparison.num_judgements == len(about)
    assert comparison.num_undecided == sum(share not in (0, 1) for share in votes)
    assert comparison.preference == pytest.approx(statistics.fmean(votes))
    assert comparison.target_margin == pytest.approx(statistics.fmean(each.target_margin for each, _ in about))
    assert comparison.weight == pytest.approx(statistics.fmean(each.weight for each, _ in about))
    known = [each.sampling_probability for each, _ in about if each.sampling_probability is not None]
    assert comparison.sampling_probability == (pytest.approx(statistics.fmean(known)) if known else None)


@given(st.lists(MIXED, max_size=12))
def test_attributes_are_means_over_the_judgements_that_give_them(judgements):
    for found in group(judgements):
        mine = [judgement for judgement in judgements if judgement.prompt_id == found.prompt_id]
        for text, attributes in zip(found.responses, found.response_attributes, strict=True):
            given = [each.attributes_first for each in mine if response_id(each.first) == response_id(text)]
            given += [each.attributes_second for each in mine if response_id(each.second) == response_id(text)]
            assert list(attributes) == sorted({name for values in given for name in values})
            for name, mean in attributes.items():
                assert mean == pytest.approx(statistics.fmean(values[name] for values in given if name in values))


def test_an_attribute_stays_with_its_response_whatever_pair_and_side_it_was_judged_on():
    (found,) = group(
        [
            judge(
                "a", "b", attributes_first={"helpfulness": 4.0, "verbosity": 1.0}, attributes_second={"verbosity": 2.0}
            ),
            judge("c", "a", attributes_second={"helpfulness": 1.0}),
        ]
    )
    attributes = dict(zip(found.responses, found.response_attributes, strict=True))
    assert attributes == {"a": {"helpfulness": 2.5, "verbosity": 1.0}, "b": {"verbosity": 2.0}, "c": {}}


@given(st.lists(MIXED, min_size=1, max_size=12))
def test_a_group_has_each_pair_once_and_a_response_in_some_pair(judgements):
    for found in group(judgements):
        places = [(comparison.first, comparison.second) for comparison in found.comparisons]
        assert len({frozenset(pair) for pair in places}) == len(places)
        assert {place for pair in places for place in pair} == set(range(len(found.responses)))
        assert all(first != second for first, second in places)


def merged(*judgements):
    """The only comparison of the only group, with its preference seen from response "a"."""
    (found,) = group(judgements)
    (comparison,) = found.comparisons
    share = comparison.preference if found.responses[comparison.first] == "a" else 1 - comparison.preference
    return replace(comparison, preference=share)


@pytest.mark.parametrize(
    ("shares", "expected"), [([1.0, 0.0], 0.5), ([1.0, 1.0, 0.0], 2 / 3), ([0.5, 1.0], 0.75), ([0.2, 0.4, 0.9], 0.5)]
)
def test_contradicting_votes_give_their_mean(shares, expected):
    comparison = merged(*(judge(preference=share) for share in shares))
    assert comparison.preference == pytest.approx(expected)
    assert comparison.num_judgements == len(shares)


def test_votes_on_swapped_responses_meet():
    comparison = merged(judge("a", "b", 1.0), judge("b", "a", 0.0), judge("b", "a", 1.0), judge("b", "a", 0.5))
    assert comparison.preference == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_an_annotator_who_comes_back_has_one_vote():
    ann = [judge(preference=share, annotator="ann", created_at=str(day)) for day, share in enumerate([1.0, 1.0, 0.4])]
    comparison = merged(*ann, judge(preference=0.0, annotator="bob"))
    assert comparison.preference == pytest.approx((0.8 + 0.0) / 2)
    assert comparison.num_judgements == 4


def test_judgements_of_nobody_known_are_a_vote_each():
    comparison = merged(*(judge(preference=1.0) for _ in range(3)), judge(preference=0.0, annotator="bob"))
    assert comparison.preference == pytest.approx(3 / 4)


def test_an_annotator_has_a_vote_for_each_pair():
    (found,) = group([judge("a", "b", 1.0, annotator="ann"), judge("a", "c", 0.0, annotator="ann")])
    assert sorted(comparison.num_judgements for comparison in found.comparisons) == [1, 1]


def test_four_responses_compared_pairwise_are_kept_once_each():
    texts = ["a", "b", "c", "d"]
    pairs = [(first, second) for first in texts for second in texts if first < second]
    (found,) = group(judge(f" {first}", f"{second}\n") for first, second in pairs)
    assert sorted(text.strip() for text in found.responses) == texts
    assert len(found.comparisons) == 6
    for comparison in found.comparisons:
        first, second = found.responses[comparison.first].strip(), found.responses[comparison.second].strip()
        assert comparison.preference == (1.0 if first < second else 0.0)


def test_spellings_of_one_prompt_are_one_group():
    assert len(group([judge(prompt=NFC), judge(prompt=f"{NFD} "), judge(prompt="other")])) == 2


def test_a_group_takes_the_domain_that_any_judgement_names():
    (found,) = group([judge(), judge(domain="code", annotator="ann"), judge(domain="")])
    assert found.domain == "code"
    assert group([judge()])[0].domain is None


def test_no_judgements_make_no_groups():
    assert group([]) == []


# The split

IDS = [prompt_id(ask(f"prompt {number}")) for number in range(5000)]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.9])
def test_the_held_out_share_is_close_to_what_was_asked(share):
    num_heldout = sum(split_of(each, share) == "heldout" for each in IDS)
    deviation = math.sqrt(len(IDS) * share * (1 - share))
    assert abs(num_heldout - len(IDS) * share) < 4 * deviation


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.floats(0, 1), st.floats(0, 1), st.text(max_size=5))
def test_a_held_out_prompt_stays_held_out_when_the_share_grows(identifier, one, other, salt):
    small, large = sorted([one, other])
    if split_of(identifier, small, salt) == "heldout":
        assert split_of(identifier, large, salt) == "heldout"


def test_nothing_is_held_out_at_share_0_and_everything_at_share_1():
    assert {split_of(each, 0.0) for each in IDS[:500]} == {"train"}
    assert {split_of(each, 1.0) for each in IDS[:500]} == {"heldout"}


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.floats(0, 1), st.floats(0, 1), st.text(max_size=5))
def test_a_validation_share_moves_prompts_from_training_only(identifier, heldout, validation, salt):
    before, after = split_of(identifier, heldout, salt), split_of(identifier, heldout, salt, validation)
    assert after == before or (before, after) == ("train", "validation")
    assert split_of(identifier, heldout, salt, 0.0) == before


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_validation_prompts_are_the_slice_after_the_held_out_ones(identifier, heldout, one, other):
    small, large = sorted([one, other])
    if split_of(identifier, heldout, validation_share=small) == "validation":
        assert split_of(identifier, heldout, validation_share=large) == "validation"
        assert split_of(identifier, heldout + small) == "heldout"


@pytest.mark.parametrize(("heldout", "validation"), [(0.1, 0.1), (0.3, 0.6), (0.5, 0.05)])
def test_the_validation_share_is_close_to_what_was_asked(heldout, validation):
    splits = [split_of(each, heldout, validation_share=validation) for each in IDS]
    for split, share in zip(SPLITS, (1 - heldout - validation, validation, heldout), strict=True):
        assert abs(splits.count(split) - len(IDS) * share) < 4 * math.sqrt(len(IDS) * share * (1 - share))


def test_another_salt_holds_out_other_prompts_independently():
    plain = {each for each in IDS if split_of(each, 0.5) == "heldout"}
    salted = {each for each in IDS if split_of(each, 0.5, "2024") == "heldout"}
    both = len(plain & salted) / len(IDS)
    assert abs(both - 0.25) < 4 * math.sqrt(0.25 * 0.75 / len(IDS))


def test_ids_and_splits_are_what_they_were_when_champions_were_trained():
    # Derived with hashlib alone. A change moves prompts of existing tables between training and held-out sets.
    texts = [json.dumps([["user", f"prompt {number}"]], separators=(",", ":")) for number in range(8)]
    ids = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts]
    assert ids == IDS[:8]
    halves = ["heldout" if int(hashlib.sha256(each.encode()).hexdigest(), 16) < 2**255 else "train" for each in ids]
    assert [split_of(each, 0.5) for each in ids] == halves
    assert halves[:5] == ["heldout", "train", "train", "train", "heldout"]
