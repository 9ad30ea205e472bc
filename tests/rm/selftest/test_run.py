import pytest

from rm.gate.checks import Check
from rm.gate.policy import GatePolicy
from rm.probes.catalog import PROBES
from rm.probes.config import ProbeConfig
from rm.selftest import run


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "NUM_REPEATS", 2)
        patch.setattr(run, "NUM_PROBED_REPEATS", 1)
        return run.run_self_test(700, 700, GatePolicy(), ProbeConfig())


@pytest.fixture(scope="module")
def planted(result):
    return {(each.name, each.strength): each for each in result.planted}


def test_a_sound_model_on_labels_that_favour_length_passes(planted):
    sound = planted["sound", 0.0]
    assert sound.failed == 0.0
    assert sound.passed >= 0.9


@pytest.mark.parametrize(
    "case", [("length", 2.0), ("shortness", 1.0), ("constant", 1.0), ("bag of words", 1.0), ("prompt-blind", 1.0)]
)
def test_a_strong_planted_bias_is_found(planted, case):
    assert planted[case].failed == 1.0


def test_a_stronger_bias_is_found_at_least_as_often(planted):
    for kind in ("length", "shortness"):
        failed = [each.failed for (name, _), each in sorted(planted.items(), key=lambda item: item[0]) if name == kind]
        assert failed == sorted(failed)


def test_the_shares_add_up_and_every_check_is_named(result):
    policy = GatePolicy()
    names = {check.name for check in policy.every_check} - set(result.not_simulated)
    edited = {f"probe_{probe.name}" for probe in PROBES}
    assert {check.name for check in (*policy.checks, *policy.champion_checks)} <= names
    assert len(edited & names) > 20
    for each in result.planted:
        assert each.passed + each.failed + each.inconclusive == pytest.approx(1.0)
        assert {rate.name for rate in each.checks} == names
        for rate in each.checks:
            assert rate.passed + rate.failed + rate.inconclusive == pytest.approx(1.0)
            assert rate.num_repeats == (1 if rate.name in edited else 2)


def test_the_smallest_seen_is_the_smallest_from_which_on_all_are_found(planted, result):
    for kind, smallest in result.smallest_seen.items():
        of_kind = {strength: each.failed for (name, strength), each in planted.items() if name == kind}
        if smallest is None:
            assert of_kind[max(of_kind)] < 0.8
        else:
            assert all(share >= 0.8 for strength, share in of_kind.items() if strength >= smallest)
            below = [strength for strength in of_kind if strength < smallest]
            assert not below or of_kind[max(below)] < 0.8


def test_a_policy_decides_what_is_found_and_what_cannot_be_simulated_is_named(monkeypatch):
    monkeypatch.setattr(run, "NUM_REPEATS", 3)
    policy = GatePolicy(
        checks=(
            Check(name="added_coefficient_bold", min_value=-0.5, max_value=0.5),
            Check(name="log_loss", max_value=1.0),
        ),
        probe_checks=(),
        champion_checks=(),
        best_of_n_checks=(),
    )
    found = run.run_self_test(400, 400, policy, ProbeConfig())
    assert found.not_simulated == ("log_loss",)
    by_name = {(each.name, each.strength): each for each in found.planted}
    assert by_name["formatting", 4.0].failed > 0.9 > by_name["sound", 0.0].failed
    assert by_name["length", 2.0].failed < 0.5


def test_several_pairs_per_prompt_and_more_pairs_than_are_simulated(monkeypatch):
    monkeypatch.setattr(run, "NUM_REPEATS", 1)
    monkeypatch.setattr(run, "PLANTS", run.PLANTS[:1])
    monkeypatch.setattr(run, "NUM_PROBED_REPEATS", 0)
    found = run.run_self_test(9000, 3000, GatePolicy(), ProbeConfig())
    assert (found.num_pairs, found.num_prompts) == (3000, 1000)


def test_it_is_the_same_again_and_survives_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "NUM_REPEATS", 2)
    monkeypatch.setattr(run, "NUM_PROBED_REPEATS", 1)
    monkeypatch.setattr(run, "PLANTS", run.PLANTS[:2])
    manifest = run.write(200, 200, GatePolicy(), ProbeConfig(), tmp_path)
    assert (
        run.read(manifest).model_dump_json()
        == run.run_self_test(200, 200, GatePolicy(), ProbeConfig()).model_dump_json()
    )


def test_edits_show_biases_that_the_pairs_alone_do_not_and_accuse_no_sound_model(planted):
    failed = {plant: {rate.name for rate in each.checks if rate.failed} for plant, each in planted.items()}
    assert not failed["sound", 0.0] & {f"probe_{probe.name}" for probe in PROBES}
    assert planted["length", 0.25].passed == 1.0 and "probe_double" in failed["length", 0.25]
    assert {"probe_bold", "probe_bullets"} <= failed["formatting", 1.0]
    assert {"probe_foreign", "probe_prompt_shuffled"} <= failed["prompt-blind", 1.0]
