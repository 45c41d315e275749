"""Names that the report still reads in files of earlier versions."""

EVIDENCE = "EVIDENCE"
SPLICEAI = "SpliceAI_DS_MAX"
#: The high-recall cut-off of Jaganathan et al. 2019 (10.1016/j.cell.2018.12.015).
SPLICEAI_THRESHOLD = 0.2
