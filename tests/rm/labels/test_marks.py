from rm.features.responses import Responses
from rm.labels.marks import HIDDEN


def test_what_no_reader_sees_is_read_from_the_responses_as_they_came():
    texts = Responses(["one\r\ntwo", "one\ntwo", " one", "one\n"], ["Why?"] * 4)
    found = {feature.name: feature.read(texts).tolist() for feature in HIDDEN}
    assert found == {
        "starts with white space": [0, 0, 1, 0],
        "ends with white space": [0, 0, 0, 1],
        "carriage returns": [1, 0, 0, 0],
        "invisible characters": [0, 0, 0, 0],
    }
