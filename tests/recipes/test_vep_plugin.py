"""The plugin for Ensembl VEP gives each allele and transcript the values that ``--emit csq`` gives them.

VEP itself is on no registry that tests reach. Perl runs the plugin with a stand-in for VEP's base class and with the
objects that VEP would hand it, made from the CSQ entries that VEP wrote, or would write.
"""

import json
import shutil
import subprocess

import pytest

from factories import FASTA, NULL, ROOT, SHARED, info, pipe, records, unpacked
from splicebert_vep.genome.reference import Reference
from splicebert_vep.outputs.csq import vep_words

PLUGIN = ROOT / "docs" / "recipes" / "vep" / "SpliceBERT.pm"
REAL = SHARED / "data" / "vcf" / "clinvar.BRCA1.vep115.GRCh38.vcf.gz"
SUBSET = SHARED / "data" / "reference" / "GRCh38.subset.fa.gz"
FIELDS = ("DS_MAX", "DS_AG", "DS_AL", "DS_DG", "DS_DL", "POS_AG", "POS_AL", "POS_DG", "POS_DL", "LOSS_JUDGED", "STATUS")
FORMAT = "Allele|Consequence|SYMBOL|Gene|Feature"

pytestmark = pytest.mark.skipif(not (shutil.which("perl") and shutil.which("tabix")), reason="no perl, or no tabix")

#: What the plugin uses of VEP's base class: options as a hash, and the lines of a place, parsed.
BASE = r"""
package Bio::EnsEMBL::Variation::Utils::BaseVepTabixPlugin;
use strict; use warnings;
sub new { my ($class, $config, @params) = @_; return bless { config => $config, params => \@params }, $class; }
sub params_to_hash { my $self = shift; return { map { split /=/, $_, 2 } @{ $self->{params} } }; }
sub expand_left {}
sub expand_right {}
sub add_file {
  my ($self, $file) = @_;
  die "no index\n" unless -e "$file.tbi";
  push @{ $self->{files} }, $file;
}
sub get_data {
  my ($self, $contig, $start, $end) = @_;
  die "no place\n" unless $contig && $start && $end && $start <= $end;
  my $place = "$contig:$start-$end";
  return $self->{last} if ($self->{place} // '') eq $place;
  my @found;
  foreach my $file (@{ $self->{files} }) {
    open my $lines, '-|', 'tabix', $file, $place or die;
    while (my $line = <$lines>) { chomp $line; my $parsed = $self->parse_data($line); push @found, $parsed if $parsed; }
  }
  $self->{place} = $place;
  return $self->{last} = \@found;
}
1;
"""
HARNESS = r"""
use strict; use warnings; use JSON::PP;
package Allele; sub variation_feature { $_[0]{vf} } sub variation_feature_seq { $_[0]{seq} }
sub transcript { $_[0]{tr} }
package Transcript; sub stable_id { $_[0]{stable_id} }
package main;
require SpliceBERT;
my $plugin = SpliceBERT->new({}, @ARGV);
my $json = JSON::PP->new->canonical;
print $json->encode($plugin->get_header_info), "\n";
while (<STDIN>) {
  my $asked = decode_json($_);
  bless $asked, 'Allele';
  bless $asked->{tr}, 'Transcript';
  print $json->encode($plugin->run($asked)), "\n";
}
"""


def vep_alleles(pos, ref, alts):
    """(start, end, allele_string, sequence) of each ALT as VEP's reader of VCF makes them."""
    words = vep_words(ref, alts)
    cut = words != [alt.upper() for alt in alts]
    start, kept = (pos + 1, ref[1:]) if cut else (pos, ref)
    string = "/".join((kept or "-", *words))
    return [(start, start + len(kept) - 1, string, word) for word in words]


@pytest.fixture
def ask(tmp_path):
    """Run the plugin on the objects of CSQ entries; returns the header and a result for each."""
    base = tmp_path / "perl" / "Bio" / "EnsEMBL" / "Variation" / "Utils" / "BaseVepTabixPlugin.pm"
    base.parent.mkdir(parents=True)
    base.write_text(BASE)
    (tmp_path / "harness.pl").write_text(HARNESS)
    head = ["perl", "-w", f"-I{tmp_path / 'perl'}", f"-I{PLUGIN.parent}", str(tmp_path / "harness.pl")]

    def run(asked, *options, code=0):
        done = subprocess.run(
            [*head, *options], input="".join(json.dumps(one) + "\n" for one in asked), capture_output=True, text=True,
            check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        if code:
            return done.stderr
        assert not done.stderr
        header, *results = map(json.loads, done.stdout.splitlines())
        return header, results

    return run


def allele(contig, start, end, string, word, transcript, strand=1):
    """Return the object that VEP hands to a plugin."""
    feature = {"chr": contig, "start": start, "end": end, "allele_string": string, "strand": strand}
    return {"vf": feature, "seq": word, "tr": transcript}


def entries_of(path):
    """The objects of every CSQ entry of a file that ``--emit csq`` has filled, and what it filled in."""
    head = next(line for line in unpacked(path).splitlines() if line.startswith("##INFO=<ID=CSQ"))
    names = head.split("Format: ")[1].rstrip('">').split("|")
    asked, expected = [], []
    for row in records(unpacked(path)):
        contig, pos, ref, alts = row[0], int(row[1]), row[3], row[4].split(",")
        by_word = {one[3]: one for one in vep_alleles(pos, ref, alts)}
        for entry in info(row[7]).get("CSQ", "").split(","):
            cells = dict(zip(names, entry.split("|"), strict=True))
            if cells["Allele"] not in by_word:
                continue
            start, end, string, word = by_word[cells["Allele"]]
            names_of = {"stable_id": "Feature", "_gene_stable_id": "Gene", "_gene_symbol": "SYMBOL"}
            transcript = {key: cells[name] for key, name in names_of.items()}
            asked.append(allele(contig, start, end, string, word, transcript))
            values = {name: cells[f"SpliceBERT_pred_{name.replace('POS', 'DP')}"] for name in FIELDS}
            expected.append({
                f"SpliceBERT_pred_{name}": pos + int(value) if name.startswith("POS") else value
                for name, value in values.items() if value
            })  # fmt: skip
    return asked, expected


def scored(folder, source, *words):
    """Annotate a VCF with entries, and with values in CSQ."""
    path = folder / "scored.vcf.gz"
    done = pipe("annotate", source, *words, "--scores", "delta", "--emit", "vep,csq", "-O", path)
    assert done.returncode == 0, done.stderr
    return path


def made_by_hand(path):
    """SNVs, insertions and deletions, several ALTs, two genes, a symbolic ALT, a REF that is not the FASTA's, an N."""
    with Reference(FASTA) as reference:
        base = lambda pos, size=1: reference.fetch("chr17", pos - 1, pos - 1 + size).decode()  # noqa: E731
        other = lambda pos: "A" if base(pos) != "A" else "C"  # noqa: E731
        rows = [
            (43_045_761, base(43_045_761), other(43_045_761)),
            (43_047_641, base(43_047_641), "A,C,G,T".replace(base(43_047_641), "").replace(",,", ",").strip(",")),
            (43_045_922, "A", "AT"),
            (43_067_617, "TAAC", "T,TAACA"),
            (43_067_613, base(43_067_613, 10), f"{base(43_067_613, 7)},{base(43_067_613, 3)}G{base(43_067_617, 6)}"),
            (43_125_422, base(43_125_422, 3), f"{base(43_125_422)},{base(43_125_422, 3)}GG"),
            (43_125_428, base(43_125_428), f"{other(43_125_428)},<DEL>"),
            (43_125_430, other(43_125_430), base(43_125_430)),
            (43_125_432, base(43_125_432), f"{base(43_125_432)}N"),
        ]
    genes = ["|BRCA1|ENSG00000012048|ENST00000357654", "|BRCA1|ENSG00000012048.23|ENST00000471181"]
    genes += ["|NBR2|ENSG00000198496|ENST00000460115", "|OTHER|ENSG00000000001|ENST00000000001"]
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=17>"]
    lines.append(f'##INFO=<ID=CSQ,Number=.,Type=String,Description="Annotations from Ensembl VEP. Format: {FORMAT}">')
    lines.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    for pos, ref, alts in sorted(rows):
        words = [one[3] for one in vep_alleles(pos, ref, alts.split(","))]
        csq = ",".join(f"{word}|x{gene}" for word in words for gene in genes)
        lines.append(f"17\t{pos}\t.\t{ref}\t{alts}\t.\t.\tCSQ={csq}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_allele_and_transcript_has_the_values_of_emit_csq(tmp_path, ask):
    path = scored(tmp_path, made_by_hand(tmp_path / "in.vcf"), *NULL)
    asked, expected = entries_of(path)
    header, found = ask(asked, f"file={path}", f"fields={':'.join(FIELDS)}")
    assert set(header) == {f"SpliceBERT_pred_{name}" for name in FIELDS}
    for one, got, wanted in zip(asked, found, expected, strict=True):
        assert got == ({} if one["seq"] == "<DEL>" else wanted), one
    filled = [one for one in found if "SpliceBERT_pred_DS_MAX" in one]
    assert len(filled) > 25 and len({json.dumps(one) for one in filled}) > 12
    assert {one.get("SpliceBERT_pred_STATUS") for one in found} >= {"OK", "REF_MISMATCH", "NON_ACGT"}


def test_an_allele_is_found_however_it_is_padded_and_on_either_strand(tmp_path, ask):
    path = scored(tmp_path, made_by_hand(tmp_path / "in.vcf"), *NULL)
    tr = {"stable_id": "ENST00000357654", "_gene_stable_id": "ENSG00000012048", "_gene_symbol": "BRCA1"}
    with Reference(FASTA) as reference:
        deleted = reference.fetch("chr17", 43_067_617, 43_067_620).decode()
        around = reference.fetch("chr17", 43_067_612, 43_067_624).decode()
    turned = deleted[::-1].translate(str.maketrans("ACGT", "TGCA"))
    ways = [
        (43_067_618, 43_067_620, f"{deleted}/-", "-", 1),
        (43_067_618, 43_067_620, f"{turned}/-", "-", -1),
        (43_067_613, 43_067_624, f"{around}/{around[:5]}{around[8:]}", around[:5] + around[8:], 1),
        (43_067_618, 43_067_619, f"{deleted[:2]}/-", "-", 1),
        (43_067_618, 43_067_620, f"{deleted}/T", "T", 1),
    ]
    asked = [allele("17", start, end, string, seq, tr, strand) for start, end, string, seq, strand in ways]
    _, found = ask(asked, f"file={path}")
    assert found[0] and found[0] == found[1] == found[2]
    assert found[3:] == [{}, {}]


@pytest.mark.parametrize(("options", "message"), [(["fields=DP_AG"], "cannot give DP_AG"), ([], "file=scored.vcf.gz")])
def test_what_it_cannot_do_is_told(tmp_path, ask, options, message):
    path = scored(tmp_path, made_by_hand(tmp_path / "in.vcf"), *NULL)
    assert message in ask([], *([f"file={path}"] if options else []), *options, code=255)


@pytest.mark.skipif(not REAL.exists(), reason="the real file is not in this project")
def test_entries_that_vep_115_wrote_get_the_values_of_emit_csq(tmp_path, ask):
    """Every 40th ClinVar record of BRCA1 and every tenth that is no SNV; Allele is VEP's own word."""
    rows = unpacked(REAL).splitlines()
    head, body = [row for row in rows if row[0] == "#"], [row for row in rows if row[0] != "#"]
    kept = [row for i, row in enumerate(body) if not i % 40]
    longer = [row for row in body if len("".join(row.split("\t")[3:5])) > 2]
    kept += longer[::10]
    kept = sorted(set(kept), key=lambda row: int(row.split("\t")[1]))
    (tmp_path / "in.vcf").write_text("\n".join([*head, *kept]) + "\n")
    path = scored(tmp_path, tmp_path / "in.vcf", "-R", SUBSET, "--backend", "null")
    asked, expected = entries_of(path)
    _, found = ask(asked, f"file={path}", f"fields={':'.join(FIELDS)}")
    assert found == expected
    assert sum("SpliceBERT_pred_DS_MAX" in one for one in found) > 1000
