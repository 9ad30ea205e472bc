"""The table of the remedies names what exists."""

import pytest

from rm.probes.catalog import PROBES
from rm.remedies.catalog import REMEDIES, trained_on
from rm.remedies.config import RemediesConfig


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.name)
def test_a_remedy_sets_what_is_not_set_and_trains_on_probes_that_exist(remedy):
    config = RemediesConfig.model_validate(dict(remedy.settings))
    assert all(getattr(config, key) != RemediesConfig.model_fields[key].default for key, _ in remedy.settings)
    assert set(remedy.trains_on) <= {probe.name for probe in PROBES}
    assert remedy.against and remedy.tokens >= 1


def test_every_setting_is_in_the_table_and_no_name_twice():
    assert {key for remedy in REMEDIES for key, _ in remedy.settings} == set(RemediesConfig.model_fields)
    assert len({remedy.name for remedy in REMEDIES}) == len({remedy.settings for remedy in REMEDIES}) == len(REMEDIES)


def test_what_a_training_teaches_is_what_its_remedies_teach_together():
    assert trained_on(RemediesConfig(controlled=("length",))) == ()
    assert trained_on(RemediesConfig(controlled=("length",), foreign_share=0.1)) == ("foreign", "prompt_shuffled")
    for remedy in REMEDIES:
        assert trained_on(RemediesConfig.model_validate(dict(remedy.settings))) == tuple(sorted(remedy.trains_on))
