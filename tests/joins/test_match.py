"""Whatever way an input and a source write an allele, they meet; and alleles that differ never do."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from factories import FakeReference
from splicebert_vep.joins.join import RefCheck
from splicebert_vep.joins.match import AlleleRows, Row
from splicebert_vep.joins.spliceai import vcf_row
from splicebert_vep_spec import JoinRequest
from splicebert_vep_spec.testing import MadeUpTable

#: Two letters and short periods: indels can be placed in many ways.
REFERENCE = "TTGACACACACACATTTTTTCACCACCACCGTGATGATGATTTACGGGGGGCATATATATAGCC"


def haplotype(change):
    pos, ref, alt = change
    assert REFERENCE[pos - 1 : pos - 1 + len(ref)] == ref
    return REFERENCE[: pos - 1] + alt + REFERENCE[pos - 1 + len(ref) :]


def request():
    reference = FakeReference({"chr1": REFERENCE})
    return JoinRequest("X", (), None, {}, MadeUpTable, RefCheck(reference).normalise, reference)


@st.composite
def changes(draw):
    """(pos, REF, ALT) as any caller may write it, padded or not, with an anchor on either side."""
    start = draw(st.integers(0, len(REFERENCE) - 2))
    length = draw(st.integers(1, min(8, len(REFERENCE) - start)))
    ref = REFERENCE[start : start + length]
    alt = draw(
        st.one_of(
            st.text("ACGT", min_size=1, max_size=6),
            st.builds(lambda n: ref[:1] + ref[1 + n :], st.integers(1, 6)),  # deletion after an anchor
            st.builds(lambda n: ref[: max(1, len(ref) - n)], st.integers(1, 6)),  # or before one
            st.builds(lambda text: ref[:1] + text + ref[1:], st.text("ACGT", min_size=1, max_size=4)),
        )
    )
    return start + 1, ref, alt


@st.composite
def rewritten(draw, change):
    """The same haplotype, written over any stretch that holds the difference."""
    other = haplotype(change)
    shared = min(len(REFERENCE), len(other))
    prefix = next((i for i in range(shared) if REFERENCE[i] != other[i]), shared)
    suffix = next((i for i in range(shared) if REFERENCE[-1 - i] != other[-1 - i]), shared)
    left = draw(st.integers(max(0, prefix - 30), min(prefix, shared - 1)))
    right = draw(st.integers(0, min(suffix, shared - left - (1 if len(other) != len(REFERENCE) else 0))))
    ref, alt = REFERENCE[left : len(REFERENCE) - right], other[left : len(other) - right]
    return (left + 1, ref, alt) if ref and alt else change


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_an_allele_is_found_however_it_is_written(data):
    change = data.draw(changes().filter(lambda one: haplotype(one) != REFERENCE))
    row = data.draw(rewritten(change))
    assert haplotype(row) == haplotype(change)
    asked = request()
    allele = asked.normalise("chr1", *change)
    pos, ref, alt = row
    lines = ["#CHROM\tPOS", f"1\t{pos}\t.\t{ref}\t{alt}\t.\t.\t."]
    [match] = AlleleRows([MadeUpTable(lines)], asked, vcf_row).find(allele)
    assert (match.row.pos, match.alt) == (pos, 0)
    table = MadeUpTable(["#c\tp\tr\ta", f"1\t{pos}\t{ref}\t{alt}"])
    [match] = AlleleRows([table], asked, table_row, 50).find(allele)
    assert match.row.pos == pos


def table_row(line):
    _, pos, ref, alt = line.split("\t")
    return Row(int(pos), ref, (alt,), ())


@given(changes(), changes())
@example((4, "ACA", "A"), (12, "ACA", "A"))
@settings(max_examples=500, deadline=None)
def test_alleles_meet_if_and_only_if_they_are_one_change(change, row):
    if REFERENCE in (haplotype(change), haplotype(row)):
        return
    asked = request()
    pos, ref, alt = row
    table = MadeUpTable(["#CHROM\tPOS", f"1\t{pos}\t.\t{ref}\t{alt}\t.\t.\t."])
    found = AlleleRows([table], asked, vcf_row).find(asked.normalise("chr1", *change))
    assert bool(found) == (haplotype(change) == haplotype(row))
