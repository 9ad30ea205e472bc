import pytest

from tasks import progress


@pytest.mark.parametrize(
    ("kept", "taken", "text"),
    [
        (261, (261, 261), "took 261 steps"),
        (200, (261, 261), "took 261 steps, with the weights of step 200"),
        (100, (150, 261), "stopped early at step 150 of 261, with the weights of step 100"),
        (150, (150, 261), "stopped early at step 150 of 261"),
        (261, None, "weights of step 261"),
    ],
)
def test_only_a_training_that_ended_early_is_said_to_have_stopped(kept, taken, text):
    assert progress.ending(kept, taken) == text
