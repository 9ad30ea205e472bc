import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rm import parquet

SCHEMA = pa.schema([("number", pa.int64()), ("text", pa.string())])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file of twelve row groups of 2,000 rows, two megabytes each."""
    path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    draw = random.Random(0)
    groups = [
        [{"number": number, "text": draw.randbytes(500).hex()} for number in range(start, start + 2000)]
        for start in range(0, 24_000, 2000)
    ]
    parquet.write_parts(path, groups, SCHEMA)
    return path


@pytest.mark.parametrize("num_rows", [1, 300, 1000, 5000])
def test_every_row_is_read_once_and_in_order(path, num_rows):
    file = pq.ParquetFile(path)
    numbers = [batch.column(0).to_pylist() for batch in parquet.batches(file, num_rows, ["number"])]
    assert [number for some in numbers for number in some] == list(range(24_000))
    assert max(map(len, numbers)) <= num_rows
    assert next(iter(parquet.batches(file, num_rows))).schema.names == SCHEMA.names


def test_memory_does_not_grow_with_the_number_of_row_groups(path):
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in parquet.batches(pq.ParquetFile(path), 100)]
    assert max(held) < 7_000_000  # of 24, of which pyarrow's own loop over all row groups comes to hold half
