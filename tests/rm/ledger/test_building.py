from rm.ledger.building import build
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
