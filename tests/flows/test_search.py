"""Which challengers a search trains and judges when it is repeated; trainings, audits and MLflow are made up."""

from types import SimpleNamespace

import pytest

from flows import remedies
from rm.challengers.standing import Standing
from rm.challengers.trail import Try
from rm.gate.policy import GatePolicy
from rm.pipeline.config import RemedyConfig
from rm.remedies.config import RemediesConfig
from tasks.tracking import Noted
from tests.rm.gate.made_up import finding

ACCURACY = {"controlled length": 0.7, "worsened responses": 0.75, "controlled length, worsened responses": 0.8}


def standing(accuracy, *failed):
    return Standing(
        verdict="failed" if failed else "passed",
        failed=failed,
        missed=failed,
        accuracy=finding(accuracy, 0.0, 1.0, name="accuracy"),
        worst_bias=None,
    )


class Killed(BaseException):
    """The process ends."""


class World:
    """What lasts from one process to the next: finished trainings, what is noted in MLflow, and what was judged."""

    def __init__(self):
        self.trained, self.judged, self.noted = [], [], Noted(frozenset(), 0)
        self.dies_at = ""

    def challenge(self, remedy, *_):
        if remedy.name not in self.trained:
            self.trained.append(remedy.name)
        accuracy = ACCURACY.get(remedy.name, 0.5)
        facts = {"remedy": remedy.name, "settings": {}, "checkpoint_digest": remedy.name, "run_id": remedy.name}
        config = SimpleNamespace(model_copy=lambda update: config)
        trained = SimpleNamespace(checkpoint=SimpleNamespace(digest=remedy.name))
        return remedies._Challenger(Try(**facts, minutes=100.0, standing=standing(accuracy)), trained, config)

    def note(self, run, digest, num_tries):
        self.noted = Noted(self.noted.digests | {digest}, num_tries)

    def judge(self, trained, *_):
        if self.dies_at == "judge":
            raise Killed
        self.judged.append(trained.checkpoint.digest)
        return SimpleNamespace(decision=SimpleNamespace(verdict="passed", reasons=()))

    def publish(self, *_):
        if self.dies_at == "publish":
            raise Killed


@pytest.fixture
def world(monkeypatch):
    """A world in which the first model failed by length."""
    made = World()
    first = {"remedy": "", "settings": {}, "checkpoint_digest": "first", "run_id": "first", "minutes": None}
    monkeypatch.setattr(remedies, "_challenge", made.challenge)
    monkeypatch.setattr(remedies, "_plain_try", lambda *_: Try(**first, standing=standing(0.8, "overpaid_length")))
    tracking = {"noted_challengers": lambda _: made.noted, "note_challenger": made.note}
    monkeypatch.setattr(remedies, "tracking", SimpleNamespace(**tracking))
    monkeypatch.setattr(remedies, "judge", made.judge)
    written = {"write_trail": lambda trail: trail, "publish_trail": made.publish}
    monkeypatch.setattr(remedies, "remedies", SimpleNamespace(**written))
    monkeypatch.setattr(remedies, "_found", lambda _trained, _judged, _config, trail: (made.publish(), trail)[1])
    return made


def searched(keeps_head=False, present=None, **budget):
    """The trail of a search."""
    config = SimpleNamespace(
        train=SimpleNamespace(remedies=present or RemediesConfig()), remedy=RemedyConfig(**budget), gate=GatePolicy()
    )
    failed = SimpleNamespace(name="overpaid_length", status="failed")
    return remedies.search(
        SimpleNamespace(checkpoint=SimpleNamespace(digest="first")),
        SimpleNamespace(run_id="first", decision=SimpleNamespace(checks=(failed,))),
        SimpleNamespace(keeps_head=keeps_head),
        config,
    )


def test_a_repeated_search_keeps_to_its_minutes_and_ends_alike(world):
    before = searched(max_runs=4, max_minutes=240)
    assert (len(before.tries), before.ending, before.judged.verdict) == (2, "minutes", "passed")
    trained = list(world.trained)
    assert searched(max_runs=4, max_minutes=240) == before
    assert world.trained == trained


@pytest.mark.parametrize("dies_at", ["judge", "publish"])
def test_a_search_that_is_killed_goes_on_with_the_challenger_that_it_had_chosen(world, dies_at):
    world.dies_at = dies_at
    with pytest.raises(Killed):
        searched(max_runs=2, max_minutes=1000)
    trained, world.dies_at = list(world.trained), ""
    after = searched(max_runs=4, max_minutes=1000)  # with a larger budget the most accurate would be another one
    assert world.trained == trained
    assert after.tries[after.judged.index].checkpoint_digest in world.noted.digests
    assert (after.judged.verdict, after.refused, after.ending) == ("passed", None, "judged before")
    assert len(set(world.judged)) == 1


def test_without_the_challenger_that_was_judged_no_other_is(world):
    world.noted = Noted(frozenset({"of another remedy"}), 1)
    after = searched(max_runs=4)
    assert (len(after.tries), after.refused, after.judged, world.judged) == (1, 0, None, [])


def test_what_shows_and_has_no_remedy_left_is_not_called_not_shown(world):
    """All of the table are in use but control, which a kept head cannot have."""
    present = RemediesConfig(worsened_share=0.5, foreign_share=0.5, stock_share=0.5)
    assert [each.ending for each in (searched(True, present), searched(False, present))] == ["no remedy", "all tried"]
