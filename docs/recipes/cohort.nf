#!/usr/bin/env nextflow
// A cohort with Nextflow (DSL2): split the sites, score each part as a task of its own, annotate every file here.
//
//   nextflow run docs/recipes/cohort.nf --manifest cohort.tsv --sites sites.vcf.gz --reference GRCh38.fa \
//       --store scores.sqlite --folder cohort2026
//
// Only SCORE goes to the executor of your configuration; ANNOTATE opens the store, which lies on a disk of this machine.
// Reference, manifest and store are passed as text and not staged: all machines see them under the same paths.
// An annotation or model of your own is given by its absolute path.

params.manifest = 'cohort.tsv'
params.sites = 'sites.vcf.gz'   // every site of these files once, see split-sites.sh
params.reference = 'GRCh38.fa'
params.annotation = 'grch38'
params.store = 'scores.sqlite'
params.folder = 'cohort'
params.parts = 50           // tasks; the model is loaded once in each
params.threads = 4          // of each task
params.extra = ''           // more options, for example '--model SpliceBERT.510nt'

process SPLIT {
    executor 'local'

    input:
    path sites

    output:
    path 'parts/*.vcf'

    script:
    """
    bash '${projectDir}/split-sites.sh' ${sites} ${params.parts} parts
    """
}

process SCORE {
    cpus params.threads
    memory '8 GB'
    time '12h'
    errorStrategy 'retry'
    maxRetries 2
    scratch true

    input:
    path part
    val reference

    output:
    path "${part.baseName}.parquet"

    script:
    """
    splicebert-vep annotate ${part} -R '${reference}' -A '${params.annotation}' --threads ${params.threads} \\
        ${params.extra} --store part.sqlite -O /dev/null
    splicebert-vep store export part.sqlite -O ${part.baseName}.parquet
    """
}

process ANNOTATE {
    executor 'local'
    cache false

    input:
    path scores
    val manifest
    val reference
    val store
    val folder

    output:
    val("${folder}/cohort.json")

    script:
    """
    splicebert-vep store import '${store}' ${scores}
    splicebert-vep cohort run '${manifest}' -R '${reference}' -A '${params.annotation}' --threads ${params.threads} \\
        ${params.extra} --store '${store}' -O '${folder}'
    """
}

workflow {
    def folder = file(params.folder).toAbsolutePath().toString()
    def manifest = file(params.manifest).toAbsolutePath().toString()
    def reference = file(params.reference).toAbsolutePath().toString()
    def store = file(params.store).toAbsolutePath().toString()

    SPLIT(file(params.sites))
    SCORE(SPLIT.out.flatten(), reference)
    ANNOTATE(SCORE.out.collect(), manifest, reference, store, folder)
    ANNOTATE.out.view { summary -> "done: ${summary}" }
}
