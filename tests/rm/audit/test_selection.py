import pytest

from rm.audit import selection
from rm.errors import AuditError


def test_pairs_kept_because_a_model_disagreed_are_refused():
    with pytest.raises(AuditError, match=r"audit\.selection: pairs that were kept .* got model_disagreed"):
        selection.check("model_disagreed")
    selection.check("unknown")


@pytest.mark.parametrize(
    ("chosen", "doubt"),
    [("all", 0.0), ("random", 0.0), ("unknown", 1.0), ("curated", 1.0), ("best_against_random", 1.0)],
)
def test_a_choice_that_can_hide_a_bias_is_a_doubt_with_a_reason(chosen, doubt):
    finding = selection.doubt(chosen, 50)
    assert (finding.estimate, bool(finding.detail), finding.num_pairs) == (doubt, bool(doubt), 50)
    assert chosen.replace("_", " ") in finding.method
