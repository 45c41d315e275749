"""Which ALT an entry is about; words by hand, after Ensembl VEP's VCF parser and SnpEff's manual."""

import pytest

from splicebert_vep.outputs.csq import alts_of, minimal_words, vep_words, written_words


@pytest.mark.parametrize(
    ("ref", "alts", "words", "minimal"),
    [
        ("A", ["G"], ["G"], ["G"]),
        ("a", ["g"], ["G"], ["G"]),
        ("AC", ["GT"], ["GT"], ["GT"]),
        ("AC", ["AT"], ["AT"], ["T"]),  # an MNV keeps its shared base
        ("CT", ["C"], ["-"], ["-"]),
        ("C", ["CA"], ["A"], ["A"]),
        ("CAA", ["CAT"], ["CAT"], ["T"]),
        ("CAA", ["CTTA"], ["TTA"], ["TT"]),
        ("AC", ["G"], ["G"], ["G"]),  # no shared first base: nothing is cut
        ("CT", ["C", "CTT"], ["-", "TT"], ["-", "T"]),
        ("CT", ["C", "AT"], ["C", "AT"], ["-", "A"]),  # one ALT begins with another base: nothing is cut
        ("CT", ["C", "*"], ["-", "*"], ["-", "*"]),  # '*' does not count
        ("AC", ["AT", "*"], ["T", "*"], ["T", "*"]),  # but its length makes the record an indel
        ("A", ["G", "*"], ["G", "*"], ["G", "*"]),
        ("AC", ["*"], ["*"], ["*"]),
        ("CAG", ["C", "CG"], ["-", "G"], ["-", "-"]),  # two deletions
        ("A", ["<DEL>"], ["<DEL>"], ["<DEL>"]),
        ("CAT", ["CATAT"], ["ATAT"], ["AT"]),  # prefix first
    ],
)
def test_words_of_vep(ref, alts, words, minimal):
    assert vep_words(ref, alts) == words
    assert minimal_words(ref, alts) == minimal


def of_vep(words, ref, alts, numbers=None):
    return alts_of(words.split(), numbers, ref, alts, [vep_words(ref, alts), minimal_words(ref, alts)])


@pytest.mark.parametrize(
    ("words", "ref", "alts", "found"),
    [
        ("T T", "C", ["T"], [0, 0]),
        ("- TT -", "CT", ["C", "CTT"], [0, 1, 0]),
        ("G * G", "A", ["G", "*"], [0, 1, 0]),
        ("A", "C", ["T"], [None]),
        # --minimal: AA is the second ALT's minimal word and the first one's usual one; A says which way it is
        ("A AA", "CA", ["CAA", "CAAA"], [0, 1]),
        ("AA AAA", "CA", ["CAA", "CAAA"], [0, 1]),
        ("AA", "CA", ["CAA", "CAAA"], [None]),
        # two deletions have one minimal word
        ("- -", "CAG", ["C", "CG"], [None, None]),
        ("- G", "CAG", ["C", "CG"], [0, 1]),
        # an ALT that is no longer in the record: SNVs are what they are, of indels something may be cut off
        ("G T", "C", ["T"], [None, 0]),
        ("AA AAA", "C", ["CAA"], [None, None]),
        ("AA AAA", "CA", ["CAA"], [None, None]),
        ("G AG", "A", ["G"], [None, None]),
        ("G -", "A", ["G"], [None, None]),
        ("GG TT", "CC", ["TT"], [None, 0]),
        # the same ALT twice
        ("T T", "C", ["T", "T"], [None, None]),
        ("DELETION G", "A", ["G", "<DEL>"], [None, None]),
    ],
)
def test_a_word_is_matched_when_it_is_certain(words, ref, alts, found):
    assert of_vep(words, ref, alts) == found


@pytest.mark.parametrize(
    ("numbers", "words", "ref", "alts", "found"),
    [
        ("1 2 1", "- - -", "CAG", ["C", "CG"], [0, 1, 0]),
        ("2 1", "AA A", "CA", ["CAA", "CAAA"], [1, 0]),
        ("1", "AA", "CA", ["CAA", "CAAA"], [0]),
        # a record that was split after VEP: its numbers are those of the whole one
        ("1 2", "T G", "C", ["G"], [None, 0]),
        ("1 2", "AA AAA", "C", ["CAA"], [None, None]),
        # CAG with ALTs C and CG after --minimal, split: - is the word of both, and of each part
        ("1 2", "- -", "CAG", ["C"], [None, None]),
        ("1 2", "- -", "CAG", ["CG"], [None, None]),
        ("1 2", "T T", "C", ["T"], [None, None]),  # of CC with ALTs CT and TC, trimmed: both are T
        ("1 x", "T T", "C", ["T"], [0, 0]),
        ("0", "T", "C", ["T"], [0]),
        ("2", "T", "C", ["T", "G"], [0]),  # the number contradicts the word
    ],
)
def test_a_number_has_to_agree_with_the_word(numbers, words, ref, alts, found):
    assert of_vep(words, ref, alts, numbers.split()) == found


def test_words_of_snpeff_are_the_alts_as_written():
    ways = [written_words("CT", ["C", "cTT"])]
    assert alts_of(["C", "CTT", ""], None, "CT", ["C", "cTT"], ways) == [0, 1, None]
    assert alts_of(["CA", "CAA"], None, "C", ["CA"], [written_words("C", ["CA"])]) == [None, None]
