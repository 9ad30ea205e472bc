"""The list of judgements, which the next snapshot leaves out."""

import pytest

from rm.data import id_lists
from rm.origins import export
from rm.origins.records import Origins, Row, Without

OLD, NEW = "a" * 64, "b" * 64


def found(*ids):
    some = Without(paid=0.1, asked=0.0, accuracy=0.8)
    return Origins(
        feature="log characters",
        num_judgements=100,
        num_pairs=10,
        model_accuracy=0.8,
        whole=some,
        origins=(),
        rows=tuple(Row(judgement_id=one, source="votes", annotator=None, adds=0.1) for one in ids),
        without_rows=some,
    )


@pytest.mark.parametrize(("named", "listed"), [((NEW,), [NEW, OLD]), ((), [OLD])])
def test_a_second_list_has_what_the_first_one_left_out(tmp_path, named, listed):
    export.write(found(OLD), tmp_path)
    export.write(found(*named), tmp_path, id_lists.read(tmp_path / export.IDS_NAME))
    lines = (tmp_path / export.IDS_NAME).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == listed
    assert lines[2] == "# below them the 1 that the model was trained without"


def test_of_a_model_that_was_trained_with_all_nothing_of_another_feature_stays(tmp_path):
    export.write(found(OLD), tmp_path)
    export.write(found(), tmp_path)
    assert not (tmp_path / export.IDS_NAME).exists()
