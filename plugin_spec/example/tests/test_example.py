import torch
from splicebert_vep_example import GcContent, PeakBed

from splicebert_vep_spec.testing import ScorerConformance, TextAdapterConformance, sample_reports, sample_run


class TestGcContent(ScorerConformance):
    scorer = GcContent()
    tensor = staticmethod(torch.tensor)


class TestPeakBed(TextAdapterConformance):
    adapter = PeakBed()


def test_the_peak_lies_where_the_offset_says():
    """Span [102, 103); offset -3 in transcript direction is genomic 105 for a gene on - and 99 on +."""
    lines = PeakBed().lines(sample_reports()[0], sample_run())
    assert [line.split("\t")[:3] for line in lines] == [["chr1", "105", "106"], ["chr1", "99", "100"]]
