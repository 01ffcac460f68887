"""Columns of text that repeats, such as identities: each text once, and a number per row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

REPEATED = pa.dictionary(pa.int32(), pa.string())


def repeated(column: Any) -> Any:
    """An array or a chunked array of text, as one of `REPEATED`."""
    return column if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()


def numbered(texts: pa.Array, numbers: Any) -> pa.DictionaryArray:
    """A column of `REPEATED`.

    Args:
        texts: each different.
        numbers: (rows,) an index into them; null where a row has none.
    """
    return pa.DictionaryArray.from_arrays(pa.array(numbers).cast(pa.int32()), texts.cast(pa.string()))


def written_out(table: pa.Table) -> pa.Table:
    """The same table with the text in every row, as files have it."""
    return table.cast(pa.schema(map(_as_in_files, table.schema), table.schema.metadata))


def _as_in_files(field: pa.Field) -> pa.Field:
    in_memory = pa.types.is_dictionary(field.type) or pa.types.is_large_string(field.type)
    return field.with_type(pa.string()) if in_memory else field


def objects(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """(rows,) Python strings, one object per text; None where a row has none."""
    whole = column.combine_chunks()
    texts = np.array([*whole.dictionary.to_pylist(), None], dtype=object)
    return texts[whole.indices.fill_null(-1).to_numpy()]


def holds(column: pa.ChunkedArray, text: str) -> NDArray[np.bool_]:
    """(rows,) whether a row has that text."""
    whole = column.combine_chunks()
    number = whole.dictionary.index(text).as_py()
    if number < 0:
        return np.zeros(len(whole), dtype=bool)
    return np.asarray(pc.equal(whole.indices, number).fill_null(False))
