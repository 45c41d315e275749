#!/usr/bin/env nextflow
// A cohort with Nextflow (DSL2): plan here, score groups of units as tasks of their own, merge here.
//
//   nextflow run docs/recipes/cohort.nf --manifest cohort.tsv --reference GRCh38.fa --store scores.sqlite --folder cohort2026
//
// Only WORK goes to the executor of your configuration: PLAN and MERGE open the store, which lies on a disk of this machine.
// Paths are passed as text and not staged: all machines see the folder and the reference under the same paths.
// An annotation or model of your own is given by its absolute path.
// Every task runs each time (-resume is not needed): the commands themselves skip what is there.

params.manifest = 'cohort.tsv'
params.reference = 'GRCh38.fa'
params.annotation = 'grch38'
params.store = 'scores.sqlite'
params.folder = 'cohort'
params.units_per_job = 8    // units of at most 256 alleles; the model is loaded once a task
params.threads = 4          // of each task
params.extra = ''           // more options of 'cohort plan', for example '--model SpliceBERT.510nt'

process PLAN {
    executor 'local'
    cache false

    input:
    val manifest
    val reference
    val store
    val folder

    output:
    stdout

    script:
    """
    splicebert-vep cohort plan '${manifest}' -R '${reference}' -A '${params.annotation}' \\
        --store '${store}' -O '${folder}' --threads ${params.threads} ${params.extra}
    """
}

process WORK {
    cache false
    cpus params.threads
    memory '8 GB'
    time '12h'
    errorStrategy 'retry'
    maxRetries 2

    input:
    tuple val(folder), val(first), val(last)

    output:
    val(true)

    script:
    """
    splicebert-vep cohort work '${folder}' ${first}-${last}
    """
}

process MERGE {
    executor 'local'
    cache false

    input:
    val folder
    val scored

    output:
    val("${folder}/cohort.json")

    script:
    """
    splicebert-vep cohort merge '${folder}'
    """
}

workflow {
    def folder = file(params.folder).toAbsolutePath().toString()
    def manifest = file(params.manifest).toAbsolutePath().toString()
    def reference = file(params.reference).toAbsolutePath().toString()
    def store = file(params.store).toAbsolutePath().toString()

    PLAN(manifest, reference, store, folder)

    // No units where the store knows every allele: 1..0 would count down, and toList() gives an empty list, on which MERGE runs.
    groups = PLAN.out
        .map { text -> text.trim().toInteger() }
        .flatMap { units -> units > 0 ? (1..units).collate(params.units_per_job as Integer) : [] }
        .map { group -> tuple(folder, group.first(), group.last()) }

    WORK(groups)
    MERGE(folder, WORK.out.toList())
    MERGE.out.view { summary -> "done: ${summary}" }
}
