import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.files import replace_text, replacing, sha256_file, sha256_folder, sha256_json, sha256_text

JSON_KEYS = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.integers(), max_size=5)


def test_replacing_puts_the_new_content_in_place_and_makes_missing_folders(tmp_path):
    path = tmp_path / "new" / "deep" / "file.bin"
    with replacing(path) as partial:
        partial.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_replacing_shows_readers_the_old_content_until_the_block_ends(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new, but only half of i")
        assert path.read_text() == "old"
    assert path.read_text() == "new, but only half of i"


def test_a_reader_who_was_first_goes_on_reading_the_old_content(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with path.open() as reader:
        replace_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_replacing_keeps_the_old_content_and_no_partial_file_on_an_exception(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_fails_when_nothing_was_written_and_keeps_the_old_content(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def test_replacing_is_not_fooled_by_the_partial_file_of_a_killed_process(tmp_path):
    path = tmp_path / "file.txt"
    (tmp_path / "file.txt.partial").write_text("a long leftover that must not show through")
    replace_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_replace_text_writes_utf_8_whatever_the_text_holds(tmp_path):
    text = "é 👍 \u2028 \0 ends without newline"
    replace_text(tmp_path / "file.txt", text)
    assert (tmp_path / "file.txt").read_bytes() == text.encode("utf-8")


def test_digests_of_the_published_test_vector_agree(tmp_path):
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2 appendix B.1
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_text("abc") == sha256_file(tmp_path / "abc") == expected


def test_sha256_file_reads_past_one_buffer(tmp_path):
    content = bytes(range(256)) * 2**13  # 2 MiB
    (tmp_path / "big").write_bytes(content)
    assert sha256_file(tmp_path / "big") == hashlib.sha256(content).hexdigest()


@given(JSON_KEYS)
def test_sha256_json_ignores_the_order_of_keys_and_nothing_else(value):
    backwards = dict(reversed(value.items()))
    assert sha256_json(value) == sha256_json(backwards) == sha256_json(json.loads(json.dumps(value)))
    assert sha256_json(value) != sha256_json({**value, "one more": 0})


def test_sha256_json_tells_apart_what_a_join_would_confuse():
    values = [["ab", "c"], ["a", "bc"], ["abc"], ["a,b", "c"], "abc", {"a": "bc"}, ["a", "b", "c"], [1], ["1"], [1.0]]
    assert len({sha256_json(value) for value in values}) == len(values)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "code" / "inner").mkdir(parents=True)
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    (tmp_path / "code" / "inner" / "b.py").write_text("b = 2\n")
    return tmp_path / "code"


@pytest.mark.parametrize(
    "name", [".hidden", ".git/config", "inner/.cache/x.py", "__pycache__/a.pyc", "inner/__pycache__/b.pyc"]
)
def test_sha256_folder_ignores_hidden_files_and_byte_code(folder, name):
    before = sha256_folder(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("noise")
    assert sha256_folder(folder) == before


def test_sha256_folder_ignores_where_it_lies_even_below_a_hidden_folder(folder, tmp_path):
    before = sha256_folder(folder)
    moved = tmp_path / ".hidden" / "__pycache__" / "elsewhere"
    moved.parent.mkdir(parents=True)
    folder.rename(moved)
    assert sha256_folder(moved) == before
    (moved / "a.py").write_text("a = 2\n")
    assert sha256_folder(moved) != before


def test_sha256_folder_sees_a_change_a_rename_an_addition_a_removal_and_a_swap(folder):
    digests = [sha256_folder(folder)]
    (folder / "a.py").write_text("a = 3\n")
    digests.append(sha256_folder(folder))
    (folder / "a.py").rename(folder / "c.py")
    digests.append(sha256_folder(folder))
    (folder / "inner" / "empty.py").touch()
    digests.append(sha256_folder(folder))
    (folder / "inner" / "empty.py").unlink()
    (folder / "inner" / "b.py").unlink()
    digests.append(sha256_folder(folder))
    assert len(set(digests)) == len(digests)


def test_sha256_folder_sees_a_file_move_to_another_folder_under_its_name(folder):
    before = sha256_folder(folder)
    (folder / "inner" / "b.py").rename(folder / "b.py")
    assert sha256_folder(folder) != before


def test_sha256_folder_sees_two_files_exchange_their_content(folder):
    before = sha256_folder(folder)
    (folder / "a.py").write_text("b = 2\n")
    (folder / "inner" / "b.py").write_text("a = 1\n")
    assert sha256_folder(folder) != before


def test_sha256_folder_looks_only_at_what_the_pattern_matches(folder):
    before = sha256_folder(folder, "*.py")
    (folder / "inner" / "b.py").write_text("changed\n")
    assert sha256_folder(folder, "*.py") == before
    (folder / "a.py").write_text("changed\n")
    assert sha256_folder(folder, "*.py") != before
