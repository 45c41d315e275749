process SPLICEBERTVEP_ANNOTATE {
    tag "$meta.id"
    label 'process_medium'

    conda "${moduleDir}/environment.yml"
    container "splicebert-vep:0.1.0"

    input:
    tuple val(meta), path(vcf)
    tuple val(meta2), path(fasta), path(fai)
    tuple val(meta3), path(genes)

    output:
    tuple val(meta), path("${prefix}.vcf.gz"),     emit: vcf
    tuple val(meta), path("${prefix}.vcf.gz.tbi"), emit: tbi
    tuple val(meta), path("${prefix}.json"),       emit: summary
    path "versions.yml",                           emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def annotation = genes ? "--annotation ${genes}" : ''
    prefix = task.ext.prefix ?: "${meta.id}.splicebert"
    if ("${vcf}" == "${prefix}.vcf.gz") error "Input and output names are the same, set prefix in module configuration to disambiguate!"
    """
    splicebert-vep annotate \\
        ${vcf} \\
        --reference ${fasta} \\
        ${annotation} \\
        --threads ${task.cpus} \\
        --summary ${prefix}.json \\
        --output ${prefix}.vcf.gz \\
        ${args}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        splicebert-vep: \$(splicebert-vep --version | sed 's/.* //')
    END_VERSIONS
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}.splicebert"
    """
    echo '' | gzip > ${prefix}.vcf.gz
    touch ${prefix}.vcf.gz.tbi
    echo '{}' > ${prefix}.json

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        splicebert-vep: \$(splicebert-vep --version | sed 's/.* //')
    END_VERSIONS
    """
}
