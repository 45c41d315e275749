# One stage of a Snakemake workflow: a scored VCF beside each called one. Include it, or run it alone:
#   snakemake -s annotate.smk --cores 2 --config vcfs=calls reference=GRCh38.fa out=scored
from pathlib import Path

VCFS = Path(config["vcfs"])
OUT = Path(config["out"])
NAMES = sorted(path.name.removesuffix(".vcf.gz") for path in VCFS.glob("*.vcf.gz"))


rule all:
    input:
        expand(OUT / "{name}.vcf.gz", name=NAMES),


rule splicebert:
    input:
        vcf=VCFS / "{name}.vcf.gz",
        fasta=config["reference"],
    output:
        vcf=OUT / "{name}.vcf.gz",
        summary=OUT / "{name}.json",
    log:
        OUT / "{name}.log",
    threads: 2
    shell:
        "splicebert-vep annotate {input.vcf} -R {input.fasta} --threads {threads} -O {output.vcf} "
        "--summary {output.summary} --strict REF_MISMATCH,FAILED 2> {log}"
