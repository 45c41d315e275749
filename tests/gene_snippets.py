"""Two genes, written as each annotation format writes them; for the tests of the gene table."""

from __future__ import annotations

from pathlib import Path


def tabbed(text: str) -> str:
    """Turn the runs of spaces between the first eight columns of a snippet into TABs."""
    lines = (line.strip() for line in text.strip().splitlines())
    return "".join(("\t".join(line.split(None, 8)) if line[0] != "#" else line) + "\n" for line in lines)


def write(folder: Path, text: str, name: str = "snippet.gff3") -> Path:
    path = folder / name
    path.write_text(tabbed(text), encoding="utf-8")
    return path


def choice_gff3(*transcripts: tuple[str, str, int]) -> str:
    """Return a gene with transcripts of (id, tags, coding nt; 0 for none) over the same two exons."""
    rows = ["1 x gene 101 400 . + . ID=g;gene_id=G;biotype=protein_coding"]
    for name, tags, coding in transcripts:
        rows.append(f"1 x mRNA 101 400 . + . ID={name};Parent=g;transcript_id={name};tag={tags}")
        rows.append(f"1 x exon 101 200 . + . Parent={name}")
        rows.append(f"1 x exon 301 400 . + . Parent={name}")
        if coding:
            rows.append(f"1 x CDS 101 {100 + coding} . + . Parent={name}")
    return "\n".join(rows)


# Two genes in the coordinates of each format (1-based, end inclusive).
#   ALPHA, plus:  T1 101-200 301-400 501-600, coding 151-550;  T2 101-200 301-450, not coding
#   BETA, minus:  T3 2001-2100 2201-2300, coding 2051-2250
ENSEMBL_GFF3 = """
##gff-version 3
##sequence-region   1 1 5000
#!genome-version GRCh38
1 havana gene           101  600  . + . ID=gene:ENSG01;Name=ALPHA;biotype=protein_coding;gene_id=ENSG01;version=3
1 havana mRNA           101  600  . + . ID=transcript:ENST01;Parent=gene:ENSG01;\
tag=basic,Ensembl_canonical,MANE_Select;transcript_id=ENST01;version=7
1 havana exon           101  200  . + . Parent=transcript:ENST01;Name=E1
1 havana five_prime_UTR 101  150  . + . Parent=transcript:ENST01
1 havana CDS            151  200  . + 0 ID=CDS:P1;Parent=transcript:ENST01
1 havana exon           301  400  . + . Parent=transcript:ENST01;Name=E2
1 havana CDS            301  400  . + 0 ID=CDS:P1;Parent=transcript:ENST01
1 havana exon           501  600  . + . ID=E3;Parent=transcript:ENST01
1 havana CDS            501  550  . + 0 ID=CDS:P1;Parent=transcript:ENST01
1 havana lnc_RNA        101  450  . + . ID=transcript:ENST02;Parent=gene:ENSG01;tag=basic;transcript_id=ENST02;\
version=1
1 havana exon           101  200  . + . Parent=transcript:ENST02
1 havana exon           301  450  . + . Parent=transcript:ENST02
###
1 havana gene           2001 2300 . - . ID=gene:ENSG02;Name=BETA;biotype=protein_coding;gene_id=ENSG02;version=1
1 havana mRNA           2001 2300 . - . ID=transcript:ENST03;Parent=gene:ENSG02;tag=MANE_Select;\
transcript_id=ENST03;version=2
1 havana exon           2201 2300 . - . Parent=transcript:ENST03
1 havana CDS            2201 2250 . - 0 Parent=transcript:ENST03
1 havana exon           2001 2100 . - . Parent=transcript:ENST03
1 havana CDS            2051 2100 . - 0 Parent=transcript:ENST03
1 havana pseudogene     3001 3100 . - . ID=gene:ENSG03;biotype=processed_pseudogene;gene_id=ENSG03;version=1
1 havana pseudogenic_transcript 3001 3100 . - . ID=transcript:ENST04;Parent=gene:ENSG03;transcript_id=ENST04;version=2
1 havana exon           3001 3100 . - . Parent=transcript:ENST04
MT insdc gene           101  600  . + . ID=gene:ENSG04;Name=MT-X;biotype=protein_coding;gene_id=ENSG04;version=3
MT insdc mRNA           101  600  . + . ID=transcript:ENST05;Parent=gene:ENSG04;transcript_id=ENST05;version=3
MT insdc exon           101  600  . + . Parent=transcript:ENST05
"""
GENCODE_GFF3 = """
##gff-version 3
#description: evidence-based annotation of the human genome (GRCh38), version 47 (Ensembl 113)
##sequence-region chr1 1 5000
chr1 HAVANA gene       101  600  . + . ID=ENSG01.3;gene_id=ENSG01.3;gene_type=protein_coding;gene_name=ALPHA;level=2
chr1 HAVANA transcript 101  600  . + . ID=ENST01.7;Parent=ENSG01.3;gene_id=ENSG01.3;transcript_id=ENST01.7;\
gene_type=protein_coding;tag=basic,Ensembl_canonical,MANE_Select
chr1 HAVANA exon       101  200  . + . ID=exon:ENST01.7:1;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA exon       301  400  . + . ID=exon:ENST01.7:2;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA exon       501  600  . + . ID=exon:ENST01.7:3;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA CDS        151  200  . + 0 ID=CDS:ENST01.7;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA CDS        301  400  . + 0 ID=CDS:ENST01.7;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA CDS        501  550  . + 0 ID=CDS:ENST01.7;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA stop_codon 548  550  . + 0 ID=stop_codon:ENST01.7;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA transcript 101  450  . + . ID=ENST02.1;Parent=ENSG01.3;transcript_id=ENST02.1;gene_type=protein_coding
chr1 HAVANA exon       101  200  . + . ID=exon:ENST02.1:1;Parent=ENST02.1
chr1 HAVANA exon       301  450  . + . ID=exon:ENST02.1:2;Parent=ENST02.1
chr1 HAVANA gene       2001 2300 . - . ID=ENSG02.1;gene_id=ENSG02.1;gene_type=protein_coding;gene_name=BETA
chr1 HAVANA transcript 2001 2300 . - . ID=ENST03.2;Parent=ENSG02.1;transcript_id=ENST03.2;tag=MANE_Select
chr1 HAVANA exon       2201 2300 . - . ID=exon:ENST03.2:1;Parent=ENST03.2
chr1 HAVANA CDS        2201 2250 . - 0 ID=CDS:ENST03.2;Parent=ENST03.2
chr1 HAVANA exon       2001 2100 . - . ID=exon:ENST03.2:2;Parent=ENST03.2
chr1 HAVANA CDS        2051 2100 . - 0 ID=CDS:ENST03.2;Parent=ENST03.2
"""
REFSEQ_GFF3 = """
##gff-version 3
#!genome-build GRCh38.p14
##sequence-region NC_000001.11 1 5000
NC_000001.11 RefSeq     region 1    5000 . + . ID=NC_000001.11:1..5000;Dbxref=taxon:9606;chromosome=1
NC_000001.11 BestRefSeq gene   101  600  . + . ID=gene-ALPHA;Dbxref=GeneID:11,HGNC:HGNC:5;Name=ALPHA;gene=ALPHA;\
gene_biotype=protein_coding
NC_000001.11 BestRefSeq mRNA   101  600  . + . ID=rna-NM_01.7;Parent=gene-ALPHA;Dbxref=GeneID:11;gene=ALPHA;\
tag=MANE Select;transcript_id=NM_01.7
NC_000001.11 BestRefSeq exon   101  200  . + . ID=exon-NM_01.7-1;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq exon   301  400  . + . ID=exon-NM_01.7-2;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq exon   501  600  . + . ID=exon-NM_01.7-3;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq CDS    151  200  . + 0 ID=cds-NP_01.1;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq CDS    301  400  . + 0 ID=cds-NP_01.1;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq CDS    501  550  . + 0 ID=cds-NP_01.1;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq transcript 101 450 . + . ID=rna-NR_02.1;Parent=gene-ALPHA;transcript_id=NR_02.1
NC_000001.11 BestRefSeq exon   101  200  . + . ID=exon-NR_02.1-1;Parent=rna-NR_02.1
NC_000001.11 BestRefSeq exon   301  450  . + . ID=exon-NR_02.1-2;Parent=rna-NR_02.1
NC_000001.11 BestRefSeq gene   2001 2300 . - . ID=gene-BETA;Dbxref=GeneID:22;Name=BETA;gene=BETA;\
gene_biotype=protein_coding
NC_000001.11 BestRefSeq mRNA   2001 2300 . - . ID=rna-NM_03.2;Parent=gene-BETA;tag=MANE Select;transcript_id=NM_03.2
NC_000001.11 BestRefSeq exon   2201 2300 . - . ID=exon-NM_03.2-1;Parent=rna-NM_03.2
NC_000001.11 BestRefSeq CDS    2201 2250 . - 0 ID=cds-NP_03.1;Parent=rna-NM_03.2
NC_000001.11 BestRefSeq exon   2001 2100 . - . ID=exon-NM_03.2-2;Parent=rna-NM_03.2
NC_000001.11 BestRefSeq CDS    2051 2100 . - 0 ID=cds-NP_03.1;Parent=rna-NM_03.2
"""
_ALPHA = 'gene_id "ENSG01"; gene_version "3"; gene_name "ALPHA"; gene_biotype "protein_coding";'
_T1 = f'{_ALPHA} transcript_id "ENST01"; transcript_version "7"; tag "basic"; tag "MANE_Select";'
_T2 = f'{_ALPHA} transcript_id "ENST02"; transcript_version "1"; tag "basic";'
_BETA = 'gene_id "ENSG02"; gene_version "1"; gene_name "BETA"; gene_biotype "protein_coding";'
_T3 = f'{_BETA} transcript_id "ENST03"; transcript_version "2"; tag "MANE_Select";'
ENSEMBL_GTF = f"""
#!genome-version GRCh38
1 havana gene        101  600  . + . {_ALPHA}
1 havana transcript  101  600  . + . {_T1}
1 havana exon        101  200  . + . {_T1}
1 havana CDS         151  200  . + 0 {_T1}
1 havana exon        301  400  . + . {_T1}
1 havana CDS         301  400  . + 0 {_T1}
1 havana exon        501  600  . + . {_T1}
1 havana CDS         501  547  . + 0 {_T1}
1 havana stop_codon  548  550  . + 0 {_T1}
1 havana transcript  101  450  . + . {_T2}
1 havana exon        101  200  . + . {_T2}
1 havana exon        301  450  . + . {_T2}
1 havana gene        2001 2300 . - . {_BETA}
1 havana transcript  2001 2300 . - . {_T3}
1 havana exon        2201 2300 . - . {_T3}
1 havana CDS         2201 2250 . - 0 {_T3}
1 havana exon        2001 2100 . - . {_T3}
1 havana CDS         2054 2100 . - 0 {_T3}
1 havana stop_codon  2051 2053 . - 0 {_T3}
"""
