import hashlib
import json
import subprocess
from datetime import UTC, date, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from rm.errors import ConfigError, ManifestError, RegistrationError
from rm.files import sha256_file, sha256_json
from rm.gate import keys, record
from rm.gate.policy import Waiver
from rm.gate.record import UNSIGNED, VersionRecord

WAIVER = Waiver(name="accuracy", reason="é", by="b", granted=date(2026, 1, 1), expires=date(2026, 1, 2))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "version"
    for name in ("MLmodel", "code/rm/__init__.py", "artifacts/c/model.safetensors", "artifacts/c/manifest.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.fixture
def made(folder):
    files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
    return VersionRecord(
        name="reward-model",
        checkpoint_digest=sha256_json({"model.safetensors": files["artifacts/c/model.safetensors"]}),
        checkpoint="artifacts/c",
        files=files,
        table="annotations",
        num_judgements=7,
        dataset_digest="d",
        run_id="r",
        report="registered/1",
        report_files={"audit.json": "1"},
        report_digest="2",
        accuracy=0.75,
        verdict="passed",
        policy_digest="3",
        waivers=(WAIVER,),
        champion_digest=None,
        config_digest="4",
        code_revision="5",
        time=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        who="user@host",
    )


@pytest.fixture
def key():
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout


def test_openssl_finds_the_signature_of_a_record_with_its_own_keys_good(made, tmp_path):
    private, public, content, signature = (tmp_path / name for name in ("key.pem", "public.pem", "record", "signature"))
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(private))
    openssl("pkey", "-in", str(private), "-pubout", "-out", str(public))
    signed = record.sign(made, keys.private_key(private.read_text(), str(private)))
    written = json.loads(signed.text)
    canonical = json.dumps(written["record"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    content.write_text(canonical, encoding="utf-8")
    signature.write_bytes(bytes.fromhex(written["signature"]))
    arguments = ("-pubin", "-inkey", str(public), "-rawin", "-in", str(content), "-sigfile", str(signature))
    assert "Verified Successfully" in openssl("pkeyutl", "-verify", *arguments)
    read = record.read(signed.text, hashlib.sha256(signed.text.encode()).hexdigest())
    assert read == signed
    read.check_signature(keys.public_key(public.read_text(), str(public)))


def test_a_signature_fits_no_other_key_and_no_other_record(made, key):
    signed = record.sign(made, key)
    signed.check_signature(key.public_key())
    other = Ed25519PrivateKey.generate()
    with pytest.raises(RegistrationError, match=r"signed by the key .*; expected a signature by the key"):
        signed.check_signature(other.public_key())
    claimed = record.sign(made, other).record.model_copy(update={"signed_by": signed.record.signed_by})
    forged = signed.model_copy(update={"record": claimed, "signature": record.sign(made, other).signature})
    with pytest.raises(RegistrationError, match="does not fit"):
        forged.check_signature(key.public_key())
    changes = {"accuracy": 0.9, "name": "other", "verdict": "passed_with_warnings", "files": {}, "waivers": ()}
    for change in changes.items():
        changed = signed.model_copy(update={"record": signed.record.model_copy(update=dict([change]))})
        with pytest.raises(RegistrationError, match="does not fit"):
            changed.check_signature(key.public_key())
    with pytest.raises(RegistrationError, match="does not fit"):
        signed.model_copy(update={"signature": "no hex"}).check_signature(key.public_key())


def test_without_a_key_the_record_says_what_it_is_worth(made, key):
    unsigned = record.sign(made, None)
    assert unsigned.record.signed_by == UNSIGNED == "unsigned: protects against accidents only"
    with pytest.raises(RegistrationError, match="unsigned: protects against accidents only; expected a signature"):
        unsigned.check_signature(key.public_key())
    assert record.sign(record.sign(made, key).record, None) == unsigned


def test_a_record_that_is_none_or_another_than_the_tag_says_is_refused(made):
    text = record.sign(made, None).text
    with pytest.raises(RegistrationError, match="not 000000000000 as when registered"):
        record.read(text, "0" * 64)
    changes = (('"table"', '"tabel"'), ('"schema_version":1', '"schema_version":2'))
    for broken in ("", "{}", *(text.replace(*change) for change in changes)):
        with pytest.raises(RegistrationError, match="its record is none"):
            record.read(broken, "0" * 64)


def test_the_files_of_the_checkpoint_are_those_of_its_digest(made):
    with pytest.raises(ValidationError, match="the files of artifacts/c have the digest"):
        VersionRecord.model_validate(made.model_dump() | {"checkpoint_digest": "0" * 64})


def test_every_file_of_a_version_is_checked_and_none_may_be_added(made, folder):
    made.check_version(folder)
    (folder / record.RECORD_NAME).write_text("{}")
    (folder / "written_by_mlflow").write_text("{}")
    with pytest.raises(ManifestError, match="written_by_mlflow: expected only the files of the record"):
        made.check_version(folder)
    made.check_version(folder, frozenset({"written_by_mlflow"}))
    (folder / "code" / "rm" / "plugin.py").write_text("1\n")
    with pytest.raises(ManifestError, match=r"plugin.py: expected only"):
        made.check_version(folder, frozenset({"written_by_mlflow"}))
    made.check_checkpoint(folder)
    (folder / "artifacts" / "c" / "pytorch_model.bin").write_text("1\n")
    with pytest.raises(ManifestError, match=r"pytorch_model.bin: expected only"):
        made.check_checkpoint(folder)
    (folder / "artifacts" / "c" / "model.safetensors").write_text("negated")
    for check in (made.check_checkpoint, made.check_version):
        with pytest.raises(ManifestError, match=r"model.safetensors: SHA-256 .* differs from the record's"):
            check(folder)


def test_a_key_of_another_kind_is_refused_without_being_shown(key, tmp_path):
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(tmp_path / "key.pem"))
    openssl("genpkey", "-algorithm", "ed448", "-out", str(tmp_path / "other.pem"))
    private, other = ((tmp_path / name).read_text() for name in ("key.pem", "other.pem"))
    openssl("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out", str(tmp_path / "locked.pem"))
    for text in ("", "no key é", other, (tmp_path / "locked.pem").read_text()):
        with pytest.raises(ConfigError, match="here: expected a private ed25519 key in PEM without") as error:
            keys.private_key(text, "here")
        assert not text or text not in str(error.value)
    for text in ("", private, other):
        with pytest.raises(ConfigError, match="here: expected a public ed25519 key"):
            keys.public_key(text, "here")
    assert keys.fingerprint(key.public_key()) == hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()
