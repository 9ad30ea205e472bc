"""What every test needs: offline hubs, and all state in a temporary folder."""

import gc
import os
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from rm.locations import Url
from tests.schema_check import SchemaCheck
from tests.storage_servers import s3_server

# Before anything imports tasks, prefect or transformers: they read these once.
os.environ["RMFLOW_HOME"] = tempfile.mkdtemp(prefix="rmflow-test-")
os.environ["HF_HOME"] = os.environ["RMFLOW_HOME"] + "/huggingface"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("PREFECT_API_URL", None)
# A process of xdist inherits what the one that started it had set to its own home; and a person may have servers.
for name in ("PREFECT_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION"):
    os.environ.pop(name, None)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many processes of tests as cores: more threads wait for one another
os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"  # tests of rm may share a process with those of tasks

# Property tests take as long as the machine needs, see the same examples in every run and leave nothing behind.
settings.register_profile("fast", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=200)

TOGETHER = ("tests/flows/", "tests/rm/report/")
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real preference data, which lies beside the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real preference data is not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def prefect_database(request) -> Path:
    """Prefect's empty database, kept from one run of the tests to the next: making it takes many seconds."""
    import prefect  # slow to import: only where a server is needed

    from tasks import databases

    kept = request.config.cache.mkdir("prefect") / f"{prefect.__version__}.db"
    if not kept.is_file():
        part = kept.with_suffix(f".{os.getpid()}")
        databases._make_prefect(part)
        part.replace(kept)
    return kept


@pytest.fixture
def without_figures(monkeypatch):
    """Pages in a fraction of the time: those of tests/rm/report have their figures."""
    monkeypatch.setattr("rm.report.figures.drawing._images", lambda *_: ["data:image/svg+xml;base64,"] * 2)


@pytest.fixture
def few_trees(monkeypatch):
    """Audits in two thirds of the time, where it does not matter how much trees find."""
    monkeypatch.setattr("rm.stats.cross_fit._NUM_TREES", 8)


@pytest.fixture(scope="session")
def _s3_address(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as address:
        yield address


_BUCKETS = count()


@pytest.fixture
def bucket(_s3_address, monkeypatch):
    """The URL of an empty bucket of a server on this machine, for which the environment has credentials."""
    from pyarrow import fs

    settings = {"ENDPOINT_URL": _s3_address, "ALLOW_HTTP": "true", "REGION": "us-east-1"}
    for name, value in {**settings, "ACCESS_KEY_ID": "tester", "SECRET_ACCESS_KEY": "very-secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    name = f"bucket-{next(_BUCKETS)}"
    files = fs.S3FileSystem(
        endpoint_override=_s3_address.removeprefix("http://"), scheme="http", allow_bucket_creation=True
    )
    files.create_dir(name)
    return Url("s3", name, "")


def pytest_collection_finish():
    """What was imported stays: each collection of garbage would look at all of it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file shares a process; all of flows share a server of Prefect and of MLflow, all of the report their pages."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return next(filter(nodeid.startswith, TOGETHER), None) or super()._split_scope(nodeid)

    config.option.loadscopereorder = False  # else the files with few tests, which are slow, come last
    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _every_audit_json_holds_to_its_schema():
    """Whatever test writes one."""
    from rm.report import audit_json

    made, check = audit_json.values, SchemaCheck(audit_json.schema())

    def validated(*args):
        values = made(*args)
        check.validate(values)
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_json, "values", validated)
        yield
