import os
import subprocess
import sys
from pathlib import Path

import pytest

from rm.errors import ConfigError, StorageError
from rm.locations import Url
from tasks import environment

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """An environment in which nothing is set yet, and its home folder."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    monkeypatch.setattr(os, "environ", dict(kept))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_state_goes_under_var_by_default(clean):
    environment.apply()
    home = clean / "var"
    assert environment.home() == home
    for name in ("PREFECT_HOME", "HF_HOME", "MPLCONFIGDIR", "MLFLOW_ARTIFACTS_DESTINATION"):
        assert Path(os.environ[name]).is_relative_to(home)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI"):
        assert os.environ[name] == f"sqlite:///{home / 'mlflow.db'}"


def test_the_folder_above_prefects_own_is_made_since_prefect_does_not_make_it(clean):
    os.environ["RMFLOW_HOME"] = str(clean / "a" / "b")
    environment.apply()
    assert (clean / "a" / "b").is_dir()


def test_a_folder_that_cannot_be_made_does_not_stop_the_import(clean):
    (clean / "file").touch()
    os.environ["RMFLOW_HOME"] = str(clean / "file" / "b")
    environment.apply()
    assert os.environ["PREFECT_HOME"] == str(clean / "file" / "b" / "prefect")


def test_tables_and_copies_lie_at_urls_if_variables_name_them(clean):
    assert environment.annotations_at("mine") == clean / "var" / "annotations" / "mine"
    assert environment.copies_of_stages() is None
    os.environ |= {"RMFLOW_ANNOTATIONS": "s3://bucket/a/b/", "RMFLOW_STAGES": "az://container"}
    assert environment.annotations_at("mine") == Url("s3", "bucket", "a/b/mine")
    assert environment.copies_of_stages() == Url("az", "container", "")
    assert environment.annotations_folder("mine") == clean / "var" / "annotations" / "mine"


@pytest.mark.parametrize("url", ["s3://me:hunter2@bucket/a", "/mnt/stages", "https://bucket"])
def test_a_url_that_cannot_be_used_is_refused_by_the_name_of_its_variable(clean, url):
    os.environ |= {"RMFLOW_ANNOTATIONS": url, "RMFLOW_STAGES": url}
    for variable, asked in (
        ("RMFLOW_ANNOTATIONS", lambda: environment.annotations_at("mine")),
        ("RMFLOW_STAGES", environment.copies_of_stages),
    ):
        with pytest.raises(ConfigError, match=f"^{variable}: expected a URL") as caught:
            asked()
        assert "hunter2" not in str(caught.value)


def test_telemetry_is_off_and_no_pickle_is_loaded(clean):
    environment.apply()
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_what_the_user_has_set_stays(clean):
    os.environ["MLFLOW_TRACKING_URI"] = "http://tracking.example"
    os.environ["RMFLOW_HOME"] = str(clean / "elsewhere")
    environment.apply()
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://tracking.example"
    assert environment.home() == clean / "elsewhere"


def test_a_prefect_server_is_configured_by_its_address_or_in_a_file_of_prefect(tmp_path):
    asked = "from tasks import environment; print(environment.prefect_server())"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environ["RMFLOW_HOME"] = str(tmp_path)

    def found(**more) -> str:
        command = [sys.executable, "-c", asked]
        return subprocess.run(command, env=environ | more, capture_output=True, text=True, check=True).stdout.strip()

    assert found() == "None"
    assert found(PREFECT_API_URL="http://127.0.0.1:1/api") == "http://127.0.0.1:1/api"
    (tmp_path / "prefect").mkdir(exist_ok=True)
    profile = 'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://127.0.0.1:2/api"\n'
    (tmp_path / "prefect" / "profiles.toml").write_text(profile)
    assert found() == "http://127.0.0.1:2/api"


def test_a_home_that_cannot_be_written_is_told_in_one_sentence(clean, tmp_path):
    (tmp_path / "file").write_text("")
    os.environ["RMFLOW_HOME"] = str(tmp_path / "file" / "home")
    environment.apply()
    with pytest.raises(StorageError, match=r"file/home: cannot be written: .*[Nn]ot a directory"):
        environment.make_home()


def test_a_home_is_made(clean, tmp_path):
    os.environ["RMFLOW_HOME"] = str(tmp_path / "not" / "yet")
    environment.apply()
    environment.make_home()
    assert [path.name for path in (tmp_path / "not" / "yet").iterdir()] == ["prefect"]


@pytest.mark.parametrize("package", ["flows", "tasks"])  # Python runs a package before any module in it
def test_prefect_keeps_its_results_in_the_home_folder_whatever_is_imported_first(package, tmp_path):
    code = (
        f"import {package}\nfrom prefect.settings import get_current_settings\n"
        "settings = get_current_settings()\nprint(settings.home, settings.results.local_storage_path)"
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "user"), "RMFLOW_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, env=environ, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert shown.split() == [str(tmp_path / "home" / "prefect"), str(tmp_path / "home" / "prefect" / "storage")]


def test_the_signing_key_is_given_as_text_or_as_a_file(clean):
    assert environment.signing_key() is None
    text = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"
    (clean / "key.pem").write_text(text)
    for value in (text, "\n" + text, str(clean / "key.pem"), "key.pem"):
        os.environ["RMFLOW_SIGNING_KEY"] = value
        assert environment.signing_key().strip() == text.strip()
    (clean / "key.der").write_bytes(b"\xff\xfe\x00")
    for value, told in (("nowhere", "No such file"), (".", "Is a directory"), ("key.der", "no text")):
        os.environ["RMFLOW_SIGNING_KEY"] = value
        with pytest.raises(ConfigError, match=f"RMFLOW_SIGNING_KEY: expected a key in PEM, .*: {told}"):
            environment.signing_key()


def test_the_user_is_told_with_the_machine(clean):
    code = "import getpass, socket; print(f'{getpass.getuser()}@{socket.gethostname()}')"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert environment.user() == told.stdout.strip()


def test_a_key_without_its_first_line_is_not_shown(clean):
    os.environ["RMFLOW_SIGNING_KEY"] = "MC4CAQAwBQYDK2VwBCIEIH3"
    with pytest.raises(ConfigError) as refused:
        environment.signing_key()
    assert "MC4CAQ" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "asked"), [("PREFECT_API_URL", "prefect_server"), ("MLFLOW_TRACKING_URI", "mlflow_server")]
)
def test_a_login_in_a_servers_address_is_refused_and_not_shown(clean, variable, asked):
    os.environ[variable] = "https://someone:secret@host:4200/api"
    with pytest.raises(ConfigError, match=rf"{variable}: expected an address without a login") as refused:
        getattr(environment, asked)()
    assert "secret" not in str(refused.value) and "https://...@host:4200/api" in str(refused.value)


def test_a_place_that_mlflow_does_not_know_is_refused_before_its_password_is_logged(clean):
    for known in ("sqlite:///a.db", "postgresql+psycopg2://u:secret@host/db", "https://host", "var/runs"):
        os.environ["MLFLOW_TRACKING_URI"] = known
        environment.check_mlflow()
    os.environ["MLFLOW_TRACKING_URI"] = "postgres://u:secret@host/db"
    with pytest.raises(ConfigError, match=r"expected a URI of .*postgresql.*; got one of postgres$"):
        environment.check_mlflow()
