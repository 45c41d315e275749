"""Names in the folder of a run that several commands share, apart from what takes torch to import."""

TABLE, SUMMARY = "cohort.parquet", "cohort.json"
#: Columns of the table that are of the cohort and not of the allele.
COUNTS = ("FILES", "CARRIERS")
