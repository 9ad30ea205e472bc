import importlib.metadata
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from mlflow.tracking import MlflowClient
from safetensors.torch import save_file

from flows.cli import app as cli
from flows.retrain import retrain
from rm.data import annotation_table, store
from rm.data.config import IngestConfig
from rm.errors import GateRejected
from rm.model.tokenizer import save_tokenizer, train_tokenizer
from rm.report.summary import Summary

pytestmark = pytest.mark.usefixtures("few_trees")
RMFLOW = str(Path(sys.executable).parent / "rmflow")
PROJECT = Path(__file__).parents[2]
QUICKSTART = str(PROJECT / "configs" / "quickstart.yaml")


@pytest.mark.parametrize("command", ["run", "ingest", "clean", "train", "audit", "score", "exec"])
def test_help_of_every_command_has_an_example(rmflow, command):
    code, out, _ = rmflow(command, "--help")
    assert code == 0
    assert f"rmflow {command} --" in out or f"rmflow {command} mlflow" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["run", "--config", QUICKSTART, "--set", "train.learning_rat=1"], "did you mean learning_rate"),
        (["run", "--config", QUICKSTART, "--set", "train.num_epochs=none"], "train.num_epochs"),
        (["run", "--config", QUICKSTART, "--set", "train"], "expected key=value"),
        (["ingest", "--config", QUICKSTART, "--set", "ingest.sources=x.jsonl"], "must not be mixed"),
        (["score", "--model", "nowhere", "--data", "missing.jsonl"], "missing.jsonl: no such file"),
        (
            ["audit", "--model", "/no/folder", "--data", "x", "--out", "x"],
            "/no/folder: no such folder; expected one, OWNER",
        ),
        (["audit"], "expected --scores FILE --out DIR, or"),
        (["audit", "--data", "x.jsonl", "--out", "x"], "got --data"),
        (["audit", "--scores", "x.jsonl"], "--out is missing"),
        (
            ["audit", "--config", QUICKSTART, "--model", "x", "--out", "x"],
            "--out does not go with --config and --model",
        ),
        (["audit", "--scores", "x.jsonl", "--out", "x", "--set", "audit.sed=1"], "--set: audit.sed: unknown key"),
        (["audit", "--model", "x", "--data", "y", "--out", "x", "--set", "train.seed=1"], "--set: train: unknown key"),
        (["audit", "--self-test"], "--self-test with --scores or --data; got --self-test"),
        (
            ["audit", "--self-test", "--scores", "x", "--set", "audit.seed=1"],
            "--set does not go with --scores and --self",
        ),
        (["audit", "--set", "audit.seed=1"], "--set does not go with nothing to audit"),
        (["audit", "--scores", "missing.jsonl", "--out", "x"], "missing.jsonl"),
        (["audit", "--scores", "missing.jsonl", "--pairs", "absent.jsonl", "--out", "x"], "absent.jsonl: no such file"),
        (["audit", "--model", "x", "--data", "y", "--pairs", "z", "--out", "x"], "--pairs does not go with --model"),
        (["audit", "--scores", "x.jsonl", "--out", "x", "--policy", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["audit", "--model", "models:/nobody/1", "--data", "missing.jsonl", "--out", "x"], "models:/nobody/1"),
        (["audit", "--best-of-n", "missing.jsonl"], "missing.jsonl: no such file"),
        (["audit", "--best-of-n", "x.jsonl", "--self-test"], "got --best-of-n, --self-test"),
        (["audit", "--scores", "x.jsonl", "--best-of-n", "y.jsonl"], "--out is missing"),
        (["audit", "--scorse", "x.jsonl"], "No such option"),
        (["train"], "--config"),
        (["annotations", "list", "--table", "nowhere"], "no annotations yet"),
        (["annotations", "retract", "--source", "x"], "--why"),
        (["annotations", "retract", "--why", "x"], "expected one of --source, --id, --ids and --where"),
        (
            ["annotations", "retract", "--why", "x", "--id", "a", "--source", "b"],
            "expected one of --source, --id, --ids and",
        ),
        (["exec"], "expected a command"),
        (["exec", "no-such-tool"], "no-such-tool"),
    ],
)
def test_a_users_mistake_is_told_in_words_with_exit_code_1(rmflow, arguments, message):
    code, out, err = rmflow(*arguments)
    assert code == 1
    assert message in err
    assert "Traceback" not in out + err


def test_the_version_is_the_one_that_is_installed(rmflow):
    assert rmflow("--version") == (0, f"{importlib.metadata.version('rmflow')}\n", "")


def test_nothing_given_shows_the_help_alone(rmflow):
    code, out, err = rmflow()
    assert code == 1
    assert "Commands" in out
    assert err == ""


def test_exec_passes_a_tools_own_options_on_and_keeps_its_state_in_the_home_folder(tmp_path):
    print_environment = "import os, sys; print(sys.argv[1:], os.environ['MLFLOW_BACKEND_STORE_URI'])"
    command = [RMFLOW, "exec", sys.executable, "-c", print_environment, "-h", "127.0.0.1", "--help"]
    environ = {"PATH": os.environ["PATH"], "RMFLOW_HOME": str(tmp_path)}
    shown = subprocess.run(command, env=environ, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == f"['-h', '127.0.0.1', '--help'] sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def recipe(tmp_path, tiny):
    """Write a tiny recipe to a file."""

    def write(**sections) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_text(tiny(**sections).model_dump_json(exclude_defaults=True))  # JSON is YAML
        return str(path)

    return write


def test_run_ends_with_the_summary_and_the_two_commands_in_ten_lines(rmflow, prefect_server, recipe, without_figures):
    code, out, _ = rmflow("run", "--config", recipe())
    assert code == 0
    shown = out[out.index("PASSED") :].splitlines()
    assert len(shown) <= 10
    for word in ("Next:", "Not seen:", "Registered: reward-model version", "mlflow server", "audit.html"):
        assert any(word in line for line in shown)


def test_a_rejection_ends_with_the_reasons_and_exit_code_2(rmflow, prefect_server, recipe, without_figures):
    impossible = "gate.checks=[{name: accuracy, min_value: 1.1, min_pairs: 1, why: no model is this good}]"
    code, out, err = rmflow("run", "--config", recipe(), "--set", impossible)
    assert code == 2
    assert "No model is this good" in out
    assert "audit.html" in out
    assert "Traceback" not in out + err


@pytest.mark.parametrize(("verdict", "expected"), [("failed", 2), ("inconclusive", 3)])
def test_a_verdict_that_is_no_pass_has_an_exit_code_of_its_own(rmflow, monkeypatch, tmp_path, verdict, expected):
    def judged(*_, **__):
        raise GateRejected(verdict, ["because"], tmp_path)

    because = {"check": "accuracy", "topic": "other", "text": "[bold]because[/]"}
    more = {"reasons": [because] * 3, "num_more": 2, "next_steps": ["rest"] * 3, "unseen": ["much"] * 3}
    summary = Summary(verdict=verdict, meaning="Not good.", **more)
    text = json.dumps({"summary": summary.model_dump(mode="json")})
    (tmp_path / "audit.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(cli, "_run", judged)
    for arguments in (["run"], ["audit", "--model", str(tmp_path)]):
        code, out, _ = rmflow(*arguments, "--config", QUICKSTART)
        assert code == expected
        assert (
            f"{verdict.upper()}. Not good. (2 more failed or undecided: see the report) Nothing was registered." in out
        )
        assert "Why: [bold]because[/]" in out
        assert len(out.splitlines()) == 10


def test_an_undecided_check_ends_with_exit_code_3(rmflow, prefect_server, recipe, without_figures):
    checks = "gate.checks=[{name: length_preference_label, min_value: 0.5, min_pairs: 1}]"
    code, out, err = rmflow("run", "--config", recipe(), "--set", checks)
    assert code == 3
    assert "INCONCLUSIVE." in out
    assert "Nothing was registered." in out
    assert "more held-out pairs" in out
    assert "Traceback" not in out + err


def test_a_waived_check_is_shown_and_tagged(rmflow, prefect_server, recipe, without_figures):
    today = datetime.now(UTC).date()
    expires = today + timedelta(days=2)
    waiver = f"{{name: accuracy, reason: a pilot, by: the owner, granted: {today}, expires: {expires}}}"
    checks = "gate.checks=[{name: accuracy, min_value: 1.1, min_pairs: 1}]"
    policy = ["--set", checks, "--set", f"gate.waivers=[{waiver}]"]
    code, out, _ = rmflow("run", "--config", recipe(registry={"name": "waived"}), *policy)
    assert code == 0
    assert "the owner vouches for it until" in out
    (version,) = MlflowClient().search_model_versions("name = 'waived'")
    expected = f"accuracy until {expires}"
    assert version.tags["rmflow.waivers"] == expected
    assert MlflowClient().get_run(version.run_id).data.tags["rmflow.waivers"] == expected
    code, _, _ = rmflow("run", "--config", recipe(registry={"name": "waived"}))
    assert code == 0
    assert "rmflow.waivers" not in MlflowClient().get_run(version.run_id).data.tags


def test_an_error_inside_a_task_is_told_without_a_traceback(rmflow, prefect_server, recipe, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"neither": 1}\n')
    code, out, err = rmflow("ingest", "--config", recipe(sample=None), "--set", f"ingest.sources={bad}")
    assert code == 1
    assert "bad.jsonl" in err
    assert "line 1" in err
    assert "Traceback" not in out + err


def on_the_terminal(home, *arguments):
    """What a command in a process of its own prints, in a new home, with the server that it starts itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    environ = {**kept, "RMFLOW_HOME": str(home)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 300}
    return subprocess.run([RMFLOW, *arguments], env=environ, check=False, **options).stdout


@pytest.mark.slow
def test_an_error_inside_a_task_is_told_once(recipe, tmp_path):
    told = "absent.jsonl: no such file"
    shown = on_the_terminal(
        tmp_path / "new", "train", "--config", recipe(sample=None, ingest={"sources": ["absent.jsonl"]})
    )
    assert shown.count(told) == 1 and shown.endswith(f"error: {told}\n")
    assert "Finished in state Failed\n" in shown
    assert "warning" not in shown.lower()


def test_in_a_new_home_columns_that_are_left_out_are_told_once(tmp_path):
    file = tmp_path / "good.jsonl"
    file.write_text(json.dumps({"prompt": "Name one.", "chosen": "A banana.", "rejected": "A plum.", "run": "a-7"}))
    shown = on_the_terminal(tmp_path / "new", "ingest", str(file))
    assert len(re.findall(r"\brun\b", shown.replace(str(tmp_path), ""))) == 1
    assert "warning" not in shown.lower()
    assert "no version is registered yet" in on_the_terminal(tmp_path / "new", "models", "list")


def test_ingest_prints_what_became_of_every_row(rmflow, prefect_server, recipe, tmp_path):
    rows = [{"prompt": "p", "first": f"a{i}", "second": "b", "preference": 1.0} for i in range(30)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0], {"broken": 1}]))
    code, out, _ = rmflow(
        "ingest", "--config", recipe(sample=None), "--set", f"ingest.sources={file}", "--set", "ingest.table=counted"
    )
    assert code == 0
    assert [cell.strip() for cell in next(line for line in out.splitlines() if "rows.jsonl" in line).split("│")][
        2:6
    ] == ["32", "30", "1", "1"]


def test_files_are_read_without_a_recipe_and_a_bad_one_leaves_the_others_stored(rmflow, prefect_server, tmp_path):
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    row = {"question": "Name a yellow fruit.", "good": "A banana.", "bad": "A plum.", "run": "a-7"}
    good.write_text(json.dumps(row) + "\n")
    bad.write_text("{}\n")
    fields = "ingest.fields={prompt: question, chosen: good, rejected: bad}"
    settings = ("--set", "ingest.table=own", "--set", fields)
    code, out, err = rmflow("ingest", str(bad), str(good), *settings)
    assert code == 1 and "bad.jsonl: 1 of 1 rows are unusable" in err and "Traceback" not in out + err
    code, out, _ = rmflow("ingest", str(good), str(bad), *settings, "--set", "ingest.on_bad_source=skip")
    assert code == 0 and "1 judgement in" in out
    assert "refused: " in out and out.count("bad.jsonl: 1 of 1 rows are unusable") == 1
    code, out, _ = rmflow("ingest", str(good), *settings, "--set", "ingest.ignore=run")
    assert code == 0 and "no part of a judgement was made of" not in out
    code, out, _ = rmflow("clean", "--table", "own", "--dry-run")
    assert code == 0 and "0 files would be removed" in out
    code, _, err = rmflow("clean", "--table", "gone")
    assert code == 1 and "no such table" in err


def test_what_would_be_read_is_shown_and_nothing_is_stored(rmflow, recipe, tmp_path):
    file = tmp_path / "rows.jsonl"
    row = {
        "system": "Be brief.",
        "question": "Name a yellow fruit.",
        "chosen": "A banana.",
        "rejected": "A plum.",
        "run": "a",
    }
    file.write_text("".join(json.dumps(each) + "\n" for each in [row, row, {**row, "images": ["a.png"]}]))
    code, out, err = rmflow("ingest", "--explain", str(file), "--set", "ingest.max_quarantined_share=0.5")
    assert code == 0
    for shown in (
        "3 rows, 2 can be used. Format: orca_dpo (2 rows)",
        "system message",
        "left out: not known",
        "1. prompt: system: Be brief.",
        "second: A plum.",
        "1 row cannot be used. The first, line 3: images: media",
    ):
        assert shown in out
    code, _, err = rmflow("ingest", "--explain", str(file))
    assert code == 1 and "nothing of it would be stored" in err
    code, _, err = rmflow("ingest")
    assert code == 1 and "expected files to read, or --config" in err
    assert not (tmp_path / "home" / "annotations").exists()


def test_annotations_are_retracted_listed_and_restored(rmflow, monkeypatch, tmp_path):
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    source = tmp_path / "a.jsonl"
    rows = [{"prompt": f"Hi {n}", "chosen": "A", "rejected": "B", "annotator": f"[{n % 2}]"} for n in range(6)]
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    store.append([str(source)], tmp_path / "home" / "annotations" / "mine", IngestConfig())
    bots = ("--table", "mine", "--where", "annotator = '[1]'", "--why", "a bot")
    stored = f"6 judgements in {tmp_path / 'home' / 'annotations' / 'mine' / 'annotations'} = "
    code, out, _ = rmflow("annotations", "retract", *bots, "--dry-run")
    assert (code, "3 judgements would be retracted" in out, f"{stored}6 used + 0 retracted" in out) == (0, True, True)
    code, out, _ = rmflow("annotations", "retract", *bots)
    assert (code, "3 judgements were retracted" in out, f"{stored}3 used + 3 retracted" in out) == (0, True, True)
    assert re.search(r"a\.jsonl +\S 6 +\S 3 +\S 3 ", rmflow("annotations", "list", "--table", "mine")[1])
    code, out, _ = rmflow("annotations", "restore", "--table", "mine", "--source", str(source), "--why", "no bot")
    assert (code, "3 judgements were restored; it was so before for 3" in out) == (0, True)
    assert f"{stored}6 used + 0 retracted" in out


def test_ids_that_a_table_does_not_have_are_counted(rmflow, monkeypatch, tmp_path):
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    rows = [{"prompt": f"Hi {number}", "chosen": "A", "rejected": "B"} for number in range(3)]
    source, ids = tmp_path / "a.jsonl", tmp_path / "ids.txt"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    folder = tmp_path / "home" / "annotations" / "mine"
    store.append([str(source)], folder, IngestConfig())
    there = [each.judgement_id for each in annotation_table.judgements(annotation_table.current(folder))]
    ids.write_text("\n".join([*there[:2], "0" * 64]), encoding="utf-8")
    retract = ("annotations", "retract", "--table", "mine", "--why", "wrong", "--ids", str(ids))
    code, out, _ = rmflow(*retract)
    assert (code, "2 judgements were retracted" in out, "1 of the 3 ids are not in this table" in out) == (
        0,
        True,
        True,
    )
    ids.write_text("\n".join(there), encoding="utf-8")
    assert "not in this table" not in rmflow(*retract)[1]


def test_no_text_of_a_file_steers_the_terminal(rmflow, tmp_path):
    steering = "\x1b]0;title\x07\x1b[2J\u202e\x9b[red]"
    rows = [
        {"prompt": f"Hi {steering}", "chosen": f"A {steering}", "rejected": "B", f"score{steering}": 1},
        {"prompt": [{"role": steering, "content": "Hi"}], "chosen": "A", "rejected": "B"},
        {"prompt": "Hi", "chosen": "A", "rejected": "B", steering: "a b c d e."},
    ]
    path = tmp_path / f"{steering}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, out, err = rmflow("ingest", "--explain", str(path))
    assert code == 1
    assert "\\x1b]0;title\\x07" in out
    assert (out + err).count("[red]") >= 6
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(out + err)


def test_a_model_shows_what_it_would_read(rmflow, recipe, tmp_path):
    folder = tmp_path / "model"
    save_tokenizer(train_tokenizer(["Name a yellow fruit."] * 9, 300), folder)
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "Name one.", "chosen": "A banana.", "rejected": "A plum."}) + "\n")
    (folder / "config.json").write_text("{}")
    save_file({"norm.weight": torch.ones(1)}, folder / "model.safetensors")  # of the weights, names alone are read
    path = tmp_path / "recipe.yaml"
    path.write_text(f"model:\n  path: {folder}\n")
    code, out, _ = rmflow("ingest", "--explain", str(file), "--config", str(path))
    assert code == 0
    assert "1. prompt: <|user|>Name one.<|end|><|assistant|>" in out and "first:  A banana.<|end|>" in out


def test_train_audit_and_score_work_one_by_one(rmflow, prefect_server, recipe, tmp_path, tiny, without_figures):
    path = recipe()
    code, out, _ = rmflow("train", "--config", path)
    assert code == 0
    folder = out.split(" in ")[-1].strip().replace("\n", "")
    assert Path(folder) == retrain(tiny()).trained.checkpoint.path
    code, out, _ = rmflow("audit", "--config", path, "--model", folder)
    assert code == 0
    assert "PASSED" in out
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "Hi", "response": "Hello", "id": 7}\n')
    code, out, _ = rmflow("score", "--model", folder, "--data", str(data))
    scored = json.loads(out.splitlines()[-1])
    assert scored["id"] == 7
    assert isinstance(scored["reward"], float)
    code, out, _ = rmflow("score", "--model", "models:/reward-model@champion", "--data", str(data))
    assert code == 0 and json.loads(out) == scored


def test_audit_of_a_folder_without_a_checkpoint_names_it(rmflow, prefect_server, recipe, tmp_path):
    code, _, err = rmflow("audit", "--config", recipe(), "--model", str(tmp_path))
    assert code == 1
    assert str(tmp_path) in err.replace("\n", "")


def test_score_names_file_and_line_of_a_bad_row(rmflow, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "Hi", "response": "Hello"}\n{"prompt": "Hi"}\n')
    code, _, err = rmflow("score", "--model", "unused", "--data", str(data))
    assert code == 1
    assert "rows.jsonl: row 2: response: expected text" in err
