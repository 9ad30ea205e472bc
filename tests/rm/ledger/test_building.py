from rm.ledger.building import build
from rm.ledger.words import compared_with, moved
from tests.rm.ledger import made_up
from tests.rm.ledger.made_up import audit, feature, finding, probe


def biased(length, bold):
    return audit([finding("accuracy", "accuracy", 0.7)], [excess("log words", length), excess("bold", bold)])


def excess(name, size):
    return feature(name, "length", -size, 2 * size)


def test_runs_are_in_the_order_of_time_however_they_come():
    runs = [made_up.read(biased(0.05, 0.0), at, str(at)) for at in (2, 0, 1)]
    assert [run.version for run in build("m", runs).runs] == ["0", "1", "2"]
    assert build("m", runs) == build("m", runs[::-1])


def test_each_run_is_compared_with_the_one_before_it_and_the_last_registered_one():
    versions = ["1", None, None, "2", "3"]
    ledger = build("m", [made_up.read(biased(0.05, 0.0), at, version) for at, version in enumerate(versions)])
    ids = [run.run_id for run in ledger.runs]
    found = [(ids.index(one.new), ids.index(one.old), one.against) for one in ledger.comparisons]
    previous = [(at, at - 1, "previous") for at in range(1, 5)]
    assert sorted(found) == sorted([*previous, (2, 0, "registered"), (3, 0, "registered")])


def test_a_substitution_over_a_rejected_run_is_told_against_the_last_registered_one():
    sizes = [(0.09, 0.0), (0.045, 0.045), (0.0, 0.09)]  # each step alone is half of it
    versions = ["1", None, None]
    runs = [
        made_up.read(biased(*size), at, version) for at, (size, version) in enumerate(zip(sizes, versions, strict=True))
    ]
    ledger = build("m", runs)
    assert [alert.run for alert in ledger.alerts][:2] == [ledger.runs[-1].run_id] * 2
    assert ledger.newest_alerts[0] == (
        "run 0002eeee against version 1, the last registered one. "
        "Fell: log words, overpaid (9.0 to 0.0 points). Rose: bold, overpaid (0.0 to 9.0 points)."
    )


def test_a_registered_run_from_before_those_that_are_shown_is_still_compared_with():
    sizes = [(0.09, 0.0), (0.06, 0.03), (0.045, 0.045), (0.0, 0.09)]
    runs = [made_up.read(biased(*size), at, "1" if at == 0 else None) for at, size in enumerate(sizes)]
    whole, window = build("m", runs), build("m", runs[2:], registered=runs[0])
    assert window.newest_alerts == whole.newest_alerts
    assert "against version 1, the last registered one" in window.newest_alerts[0]
    ids = [run.run_id for run in window.runs]
    assert ids == [runs[at].run.run_id for at in (0, 2, 3)]
    found = [(ids.index(one.new), ids.index(one.old), one.against) for one in window.comparisons]
    assert found == [(1, 0, "registered"), (2, 1, "previous"), (2, 0, "registered")]
    assert [len(row.readings) for row in window.rows] == [3] * len(window.rows)


def test_the_last_run_says_what_it_is_compared_with():
    def told(*versions, registered=None):
        runs = [made_up.read(biased(0.05, 0.0), at + 1, version) for at, version in enumerate(versions)]
        return compared_with(build("m", runs, registered))

    before = made_up.read(biased(0.05, 0.0), 0, "1")
    assert told(None) == "no earlier run is shown, so that it is compared with nothing"
    assert told(None, registered=before) == "compared with the last registered one"
    assert told(None, None) == "compared with the run before it; no registered one before it is shown"
    assert told("2", None) == "compared with the run before it, the last registered one"
    assert told("2", None, None) == "compared with the run before it and the last registered one"


def test_of_an_edit_that_should_change_nothing_what_lies_beyond_one_half_is_told():
    runs = [made_up.read(audit(probes=[probe("bold", "same", rate)]), at) for at, rate in enumerate((0.5, 0.3))]
    (change,) = build("m", runs).most_changed
    assert moved(change) == "edit: bold, loses beyond one half (0.0 to 20.0 points)"
    runs = [made_up.read(audit(probes=[probe("empty", "lower", rate)]), at) for at, rate in enumerate((0.5, 0.3))]
    (change,) = build("m", runs).most_changed
    assert moved(change) == "edit: empty, wins (50.0 to 30.0 %)"


def test_a_row_has_a_place_for_each_run_and_groups_keep_their_order():
    first = audit([finding("accuracy", "accuracy", 0.7)], probes=[probe("empty", "lower", 0.1)])
    ledger = build("m", [made_up.read(first, 0), made_up.read(biased(0.05, 0.0), 1)])
    measured = {row.quantity.key: [one is not None for one in row.readings] for row in ledger.rows}
    assert measured == {
        "overpaid/log words": [False, True],
        "overpaid/bold": [False, True],
        "probe_empty": [True, False],
        "accuracy": [True, True],
    }
    assert list(measured)[-1] == "accuracy"


def test_the_surest_change_of_a_quantity_stands_for_it():
    sizes = [(0.09, 0.0), (0.03, 0.0), (0.02, 0.0)]
    runs = [made_up.read(biased(*size), at, "1" if at == 0 else None) for at, size in enumerate(sizes)]
    (change,) = build("m", runs).most_changed
    assert (change.against, change.before, change.after) == ("registered", 0.09, 0.02)
