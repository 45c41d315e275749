// One stage of a Nextflow workflow (DSL2): a scored VCF for each called one.
//   nextflow run annotate.nf --vcfs 'calls/*.vcf.gz' --reference GRCh38.fa --out scored

params.vcfs = null
params.reference = null
params.out = 'scored'

process SPLICEBERT {
    tag "${vcf.simpleName}"
    cpus 2
    memory '4 GB'
    publishDir params.out, mode: 'copy'

    input:
    path vcf
    path reference

    output:
    path "${vcf.simpleName}.splicebert.vcf.gz", emit: vcf
    path "${vcf.simpleName}.splicebert.json", emit: summary

    script:
    """
    splicebert-vep annotate ${vcf} -R ${reference} --threads ${task.cpus} \\
        -O ${vcf.simpleName}.splicebert.vcf.gz --summary ${vcf.simpleName}.splicebert.json \\
        --strict REF_MISMATCH,FAILED
    """
}

workflow {
    SPLICEBERT(Channel.fromPath(params.vcfs, checkIfExists: true), file(params.reference, checkIfExists: true))
}
