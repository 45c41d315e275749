"""The Parquet of `--emit parquet=scores.parquet` in pandas, polars and DuckDB: the same question three times.

Usage: python tables.py scores.parquet

The question: the alleles of each gene that disturb most, by DS_MAX, among those that were scored. A row is an allele in
a gene; null is missing and never a number.
"""

import sys


def with_pandas(path):
    import pandas

    table = pandas.read_parquet(path)
    scored = table[table["STATUS"] == "OK"].dropna(subset=["DS_MAX"])
    order = scored.sort_values(["DS_MAX", "POS", "REF", "ALT"], ascending=[False, True, True, True])
    top = order.groupby("SYMBOL", sort=True).head(3)
    return list(top[["SYMBOL", "POS", "REF", "ALT", "DS_MAX"]].itertuples(index=False, name=None))


def with_polars(path):
    import polars

    table = polars.scan_parquet(path)
    scored = table.filter((polars.col("STATUS") == "OK") & polars.col("DS_MAX").is_not_null())
    order = scored.sort("DS_MAX", "POS", "REF", "ALT", descending=[True, False, False, False])
    top = order.filter(polars.int_range(polars.len()).over("SYMBOL") < 3)
    return top.select("SYMBOL", "POS", "REF", "ALT", "DS_MAX").collect().rows()


def with_duckdb(path):
    import duckdb

    return duckdb.execute(
        """
        SELECT SYMBOL, POS, REF, ALT, DS_MAX FROM read_parquet(?)
        WHERE STATUS = 'OK' AND DS_MAX IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY SYMBOL ORDER BY DS_MAX DESC, POS, REF, ALT) <= 3
        ORDER BY DS_MAX DESC, POS, REF, ALT
        """,
        [path],
    ).fetchall()


if __name__ == "__main__":
    for row in with_duckdb(sys.argv[1]):
        print(*row, sep="\t")
