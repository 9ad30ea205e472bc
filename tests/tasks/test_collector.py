import gc

import pytest

from tasks import collector


def test_the_collector_rests_within_and_works_afterwards_also_after_an_error():
    with pytest.raises(ValueError, match="a fault"), collector.resting():
        assert not gc.isenabled()
        raise ValueError("a fault")
    assert gc.isenabled()


def test_later_collections_look_at_nothing_that_was_made_within():
    before = gc.get_freeze_count()
    with collector.resting():
        made = [[] for _ in range(5000)]
    assert gc.get_freeze_count() - before >= len(made)
    assert not any(each is one for one in gc.get_objects() for each in made[:1])
