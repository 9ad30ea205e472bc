"""A search for a remedy, through Prefect and MLflow for real."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from zlib import crc32

import pytest
from mlflow.tracking import MlflowClient

from flows.remedies import spent
from flows.retrain import retrain
from rm.challengers import page, stage
from rm.challengers.trail import TrailManifest, Try
from rm.data import id_lists
from rm.errors import AuditError, GateRejected, ModelError, TrainingError
from rm.pipeline.config import RemedyConfig
from rm.remedies import candidates, catalog
from rm.remedies.config import RemediesConfig
from tasks import tracking, versions
from tests.flows.conftest import LENIENT

pytestmark = pytest.mark.usefixtures("without_figures", "few_trees", "prefect_server", "two_remedies")

PLAIN_ALONE = {
    **LENIENT,
    "checks": [
        *LENIENT["checks"],
        {"name": "overpaid_length", "max_value": -1.0, "decides": "estimate", "min_pairs": 1, "why": "too long"},
    ],
}
"""A policy that no model satisfies, for a reason that has remedies."""


@pytest.fixture(scope="module", autouse=True)
def two_remedies():
    """Others for length need more pairs than these runs have."""
    with pytest.MonkeyPatch.context() as patch:
        by_name = {each.name: each for each in catalog.REMEDIES}
        second = replace(by_name["stock responses"], against=("length",))
        patch.setattr(candidates, "REMEDIES", [by_name["controlled length"], second])
        yield


def recipe(tiny, name, gate, **sections):
    """Other data for each name: what was judged is known by its weights, in whatever experiment."""
    sample = {"num_prompts": 60, "seed": crc32(name.encode()) % 1000}
    return tiny(gate=gate, registry={"name": name, "experiment": name}, sample=sample, **sections)


def children_of(run_id):
    client = MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")


@pytest.fixture(scope="module")
def rejected(tiny):
    """A search in which every challenger fails: the exception, and its trail."""
    with pytest.raises(GateRejected) as caught:
        retrain(recipe(tiny, "none-passes", PLAIN_ALONE, remedy={"max_runs": 2}), remedy=True)
    return caught.value, stage.read(caught.value.trail_path)


def test_where_no_challenger_passes_the_flow_fails_and_says_what_was_tried(rejected):
    rejection, trail = rejected
    assert rejection.verdict == "failed"
    assert (len(trail.tries), trail.ending, trail.judged) == (2, "all tried", None)
    assert trail.biases == ("length",)
    digests = [each.checkpoint_digest for each in (trail.plain, *trail.tries)]
    assert len(set(digests)) == 3
    assert all(each.standing.failed == ("overpaid_length",) for each in (trail.plain, *trail.tries))
    assert all(each.minutes > 0 for each in trail.tries)


def test_challengers_are_children_of_the_first_run_in_mlflow(rejected):
    _, trail = rejected
    children = {run.info.run_id: run for run in children_of(trail.plain.run_id)}
    assert children.keys() == {each.run_id for each in trail.tries}
    for each in trail.tries:
        run = children[each.run_id]
        assert run.data.tags["remedy"] == each.remedy
        assert run.info.run_name == f"not chosen: {each.remedy}"
        assert run.data.tags["rmflow.choosing_verdict"] == "failed"
        assert "rmflow.verdict" not in run.data.tags  # a third of the prompts gives no verdict
        assert run.info.status == "FINISHED"
    names = {file.path for file in MlflowClient().list_artifacts(trail.plain.run_id, tracking.TRAIL_FOLDER)}
    assert f"{tracking.TRAIL_FOLDER}/{TrailManifest.PAGE_NAME}" in names


def test_without_a_remedy_asked_for_nothing_is_tried(rejected, tiny):
    with pytest.raises(GateRejected) as caught:
        retrain(recipe(tiny, "none-passes", PLAIN_ALONE))
    assert caught.value.trail_path is None


@pytest.fixture
def only_remedied(monkeypatch):
    """The gate's check of length holds for every model but the one without remedy."""
    from rm.gate import judging

    judge = judging.judge
    plain = []

    def unless_plain(check, finding, size=None):
        if check.name == "overpaid_length" and plain:
            return "passed", "made to pass"
        return judge(check, finding, size)

    monkeypatch.setattr("rm.gate.decision.judge", unless_plain)
    return plain


def test_a_challenger_that_passes_on_other_prompts_is_registered_with_the_trail(tiny, only_remedied, monkeypatch):
    from flows import remedies

    challenge = remedies._challengers

    def marked(*given):
        only_remedied.append(True)
        return challenge(*given)

    monkeypatch.setattr(remedies, "_challengers", marked)
    config = recipe(tiny, "one-passes", PLAIN_ALONE, remedy={"max_runs": 1})
    outcome = retrain(config, remedy=True)
    trail = stage.read(outcome.trail.path)
    (only,) = trail.tries
    assert trail.judged.index == 0
    assert trail.remedy == only.remedy
    assert outcome.trained.checkpoint.digest == only.checkpoint_digest == outcome.registered.checkpoint_digest
    assert outcome.judged.audited.part == "judging"
    version = MlflowClient().get_model_version(outcome.registered.name, outcome.registered.version)
    record = versions.read_record(version).record
    assert {"remedies.html", "remedies.json"} <= record.report_files.keys()
    (child,) = children_of(trail.plain.run_id)
    assert child.info.run_id == only.run_id
    assert child.info.run_name == f"passed: {only.remedy}"
    listed = MlflowClient().list_artifacts(child.info.run_id, tracking.TRAIL_FOLDER)
    assert json.loads((outcome.trail.path / "remedies.json").read_text())
    assert {file.path.rpartition("/")[2] for file in listed} >= set(outcome.trail.files)


def test_the_prompts_that_judged_one_challenger_judge_no_other(tiny, only_remedied, monkeypatch):
    from flows import remedies

    config = recipe(tiny, "one-look", PLAIN_ALONE, remedy={"max_runs": 1})
    challenge = remedies._challengers

    def marked(*given):
        only_remedied.append(True)
        return challenge(*given)

    monkeypatch.setattr(remedies, "_challengers", marked)
    registered = retrain(config, remedy=True)
    only_remedied.clear()
    assert retrain(config, remedy=True).registered == registered.registered  # the same one again is no second look
    only_remedied.clear()
    larger = config.model_copy(update={"remedy": RemedyConfig(max_runs=2)})
    again = retrain(larger, remedy=True)
    assert again.registered == registered.registered
    assert len(stage.read(again.trail.path).tries) == 1  # another training could not be judged
    only_remedied.clear()
    possible = remedies._possible
    monkeypatch.setattr(remedies, "_possible", lambda *given: possible(*given)[1:])
    with pytest.raises(GateRejected) as caught:
        retrain(larger, remedy=True)
    trail = stage.read(caught.value.trail_path)
    assert (trail.refused, trail.judged) == (0, None)
    assert caught.value.verdict == "failed"
    verdict = MlflowClient().get_run(registered.judged.run_id).data.tags["rmflow.verdict"]
    assert verdict == "passed"  # it was a challenger again, and keeps its verdict


def test_with_too_few_prompts_to_choose_on_the_verdict_stays(tiny, monkeypatch):
    from flows import remedies

    def nothing(*_):
        raise AuditError("none of the held-out pairs has a majority and two rewards")

    monkeypatch.setattr(remedies, "measure", nothing)
    with pytest.raises(GateRejected) as caught:
        retrain(recipe(tiny, "too-few", PLAIN_ALONE), remedy=True)
    trail = stage.read(caught.value.trail_path)
    assert (trail.ending, trail.tries, caught.value.verdict) == ("too few", (), "failed")


def test_a_challenger_whose_training_breaks_is_left_out(tiny, monkeypatch):
    from flows import remedies

    fit, broken = remedies.fit, []

    def breaks_first(*given):
        if not broken:
            broken.append(True)
            raise TrainingError("the loss became infinite")
        return fit(*given)

    monkeypatch.setattr(remedies, "fit", breaks_first)
    with pytest.raises(GateRejected) as caught:
        retrain(recipe(tiny, "one-breaks", PLAIN_ALONE, remedy={"max_runs": 2}), remedy=True)
    first, second = stage.read(caught.value.trail_path).tries
    assert (first.error, first.standing, first.run_id) == ("the loss became infinite", None, "")
    assert second.standing is not None


def test_a_challenger_whose_rewards_are_no_numbers_is_left_out(tiny, monkeypatch):
    from flows import remedies

    judge, broken = remedies.judge, []

    def breaks_first(*given):
        if not broken:
            broken.append(True)
            raise ModelError("a reward is not finite")
        return judge(*given)

    monkeypatch.setattr(remedies, "judge", breaks_first)
    with pytest.raises(GateRejected) as caught:
        retrain(recipe(tiny, "no-numbers", PLAIN_ALONE, remedy={"max_runs": 2}), remedy=True)
    first, second = stage.read(caught.value.trail_path).tries
    assert (first.error, first.standing) == ("a reward is not finite", None)
    assert second.standing is not None


def test_a_training_that_the_gate_failed_before_is_no_challenger(tiny):
    config = recipe(tiny, "failed-before", PLAIN_ALONE, remedy={"max_runs": 1})
    by_hand = config.train.model_copy(update={"remedies": RemediesConfig(controlled=("length",))})
    with pytest.raises(GateRejected):
        retrain(config.model_copy(update={"train": by_hand}))
    with pytest.raises(GateRejected) as caught:
        retrain(config, remedy=True)
    trail = stage.read(caught.value.trail_path)
    (only,) = trail.tries
    assert only.standing is None
    assert "failed these weights before" in only.error
    assert page.outcome(trail) == "No challenger could be audited, so none was judged."


def test_nor_is_one_that_gives_the_first_models_weights_whatever_it_claims(tiny, monkeypatch):
    """No pair differs in what is controlled, so the same weights come of another training."""
    nothing = replace(catalog.REMEDIES[0], name="controlled nothing", settings=(("controlled", ("word:xylophone",)),))
    monkeypatch.setattr(candidates, "REMEDIES", [nothing])
    with pytest.raises(GateRejected) as caught:
        retrain(recipe(tiny, "same-weights", PLAIN_ALONE), remedy=True)
    trail = stage.read(caught.value.trail_path)
    (only,) = [each for each in trail.tries if each.remedy == "controlled nothing"]
    told = "the remedy changed nothing: these are the weights that the gate has failed"
    assert (only.standing, only.error) == (None, told)


def test_what_does_not_show_where_remedies_are_chosen_is_told_from_what_has_none(tiny, monkeypatch):
    from flows import remedies

    monkeypatch.setattr(remedies.candidates, "telling", lambda *_: ())
    with pytest.raises(GateRejected) as caught:
        retrain(recipe(tiny, "not-shown", PLAIN_ALONE), remedy=True)
    trail = stage.read(caught.value.trail_path)
    assert (trail.ending, trail.tries) == ("not shown", ())
    assert "does not show" in page.outcome(trail)


def test_where_the_head_of_a_reward_model_is_kept_nothing_is_controlled(tiny):
    head = retrain(recipe(tiny, "a-head", LENIENT)).trained.checkpoint.path
    with pytest.raises(GateRejected) as caught:
        retrain(recipe(tiny, "kept-head", PLAIN_ALONE, model={"path": str(head)}), remedy=True)
    assert [dict(each.settings).keys() for each in stage.read(caught.value.trail_path).tries] == [{"stock_share"}]


def test_what_somebody_vouches_for_is_judged_by_estimate_too(tiny, only_remedied, monkeypatch):
    from flows import remedies

    judged, challenge, judge = [], remedies._challengers, remedies.judge

    def marked(*given):
        only_remedied.append(True)
        return challenge(*given)

    def noted(trained, config, part):
        judged.append((part, {check.name: check.decides for check in config.gate.checks}))
        return judge(trained, config, part)

    monkeypatch.setattr(remedies, "_challengers", marked)
    monkeypatch.setattr(remedies, "judge", noted)
    vouched = {"name": "gain_without_length", "max_value": -1.0, "decides": "bound", "min_pairs": 1, "why": "too long"}
    today = datetime.now(UTC).date()
    waiver = {"name": vouched["name"], "reason": "a pilot", "by": "the owner", "granted": today, "expires": today}
    gate = {**PLAIN_ALONE, "checks": [*PLAIN_ALONE["checks"], vouched], "waivers": [waiver]}
    retrain(recipe(tiny, "vouched-for", gate, remedy={"max_runs": 1}), remedy=True)
    names = ("choosing", "bound"), ("judging", "estimate")
    assert [(part, decides[vouched["name"]]) for part, decides in judged] == list(names)


def test_origins_of_a_controlled_training_say_that_labels_are_looked_at_without_it(tiny, rmflow, tmp_path, caplog):
    config = recipe(tiny, "origins", LENIENT)
    controlled = config.train.model_copy(update={"remedies": RemediesConfig(controlled=("length",))})
    model = retrain(config.model_copy(update={"train": controlled})).trained.checkpoint
    asked = ("origins", "--model", str(model.path), "--feature", "log characters", "--share", "0.2")
    code, out, _ = rmflow(*asked, "--out", str(tmp_path / "found"))
    assert code == 0
    assert "The training controlled for length; here is what the labels teach without that." in out
    assert "log characters, on" in out
    ids = id_lists.read(tmp_path / "found" / "judgements.txt")
    assert len(ids) > 0

    # A model that was trained without them: the next list, in the same place, still leaves them out.
    id_lists.write(tmp_path / "found" / "judgements.txt", ids := ids | {"0" * 64})
    snapshot = config.snapshot.model_copy(update={"exclude": tmp_path / "found" / "judgements.txt"})
    second = retrain(config.model_copy(update={"snapshot": snapshot})).trained.checkpoint
    (told,) = [line for line in caplog.messages if line.startswith(f"{snapshot.exclude}: ids that ")]
    assert ": ids that are not in " in told and told.endswith(": 1")
    code, out, _ = rmflow("origins", "--model", str(second.path), "--out", str(tmp_path / "found"))
    assert code == 0
    assert f"judgements.txt, with the {len(ids)} judgements that the model was trained without: --set" in out
    assert ids < id_lists.read(tmp_path / "found" / "judgements.txt")


def test_origins_refuses_a_file_in_place_of_a_folder_before_it_reads_a_model(rmflow, tmp_path):
    (tmp_path / "taken").write_text("", encoding="utf-8")
    code, _, err = rmflow("origins", "--model", str(tmp_path / "none"), "--out", str(tmp_path / "taken"))
    assert code == 1
    assert "expected a folder for the report, got a file" in " ".join(err.split())


def attempt(minutes):
    return Try(remedy="x", settings={}, checkpoint_digest="", run_id="", minutes=minutes, standing=None)


def test_the_budget_ends_the_search():
    budget = RemedyConfig(max_runs=2, max_minutes=10)
    assert spent(budget, []) is None
    assert spent(budget, [attempt(5.0)]) is None  # another one that takes as long just fits
    assert spent(budget, [attempt(5.1)]) == "minutes"
    assert spent(budget, [attempt(0.0), attempt(0.0)]) == "runs"
    three = RemedyConfig(max_runs=3, max_minutes=10)
    assert spent(three, [attempt(2.0), attempt(4.0)]) is None
    assert spent(three, [attempt(2.0), attempt(4.1)]) == "minutes"
