"""Sentences of the page: what a status means, what the scores do not see, what a line of provenance is."""

from __future__ import annotations

from collections.abc import Mapping

from splicebert_vep_spec import Status

from .collecting import NOT_ANNOTATED

STATUSES: Mapping[str, str] = {
    Status.OK: "At least one requested score is present.",
    Status.NO_ALT: "The record has no ALT allele; it passed untouched.",
    Status.SYMBOLIC: "A symbolic ALT or a breakend: there is no sequence to score.",
    Status.SPANNING_DELETION: "ALT is '*': look at the record that holds the deletion.",
    Status.NON_ACGT: "A letter outside A, C, G, T in REF or ALT.",
    Status.NO_CHANGE: "REF and ALT are the same.",
    Status.NO_CONTIG: "The contig is not in the FASTA under any known name.",
    Status.REF_MISMATCH: "The FASTA has other bases than REF; if there are many, the genome build is wrong.",
    Status.TOO_LONG: "The allele is too long for a window with flanks on both sides.",
    Status.NO_GENE: "No gene of the annotation overlaps the allele.",
    Status.N_CONTEXT: "A base near the allele is unknown, or the contig ends before a window fits.",
    Status.FAILED: "The model failed on the allele; run again, and report it if it stays.",
    Status.NOT_APPLICABLE: "None of the requested scores is defined for this kind of allele.",
    NOT_ANNOTATED: "The record has no SpliceBERT fields: it was added, or they were removed, after the run.",
}

LIMITS = (
    "Sequence only. The model sees one stretch of pre-mRNA sequence around one allele. It knows nothing of tissue, age "
    "or sex, of expression, of RNA structure, or of other variants on the same chromosome.",
    "Expectation, not consequence. A score says how much an allele disturbs what the model expects. It does not say "
    "that an exon is skipped, how much, or that anyone is ill.",
    "Zero-shot, not calibrated. No label of any variant went into the scores. They are not calibrated to ACMG/AMP "
    "evidence; there is no PP3 or BP4 threshold, and none may be read off this page.",
    "A splice site that is deleted has no KL score. Its bases have no counterpart in ALT, so the greatest damage can "
    "have the lowest KL_SS. Alleles that touch a splice-site dinucleotide are in the table whatever their scores.",
    "Missing is not low. An allele without scores has a status that says why; it was not found harmless.",
)

#: Labels of what the provenance line of a run says, in the order shown; other names are shown as they are, after these.
PROVENANCE: Mapping[str, str] = {
    "Version": "Program version",
    "ScoreVersion": "Score version",
    "ScoreDigest": "Score digest",
    "Backend": "Backend",
    "Model": "Model",
    "Quality": "Measured quality",
    "WeightsSHA256": "Weights, SHA-256",
    "Architecture": "Architecture",
    "Window": "Window, nt",
    "Flank": "Flank read on each side, nt",
    "WindowMode": "Window placing",
    "Stride": "Stride of tiles",
    "EngineMode": "Engine mode",
    "Radius": "Radius of local mode, nt",
    "Scores": "Scores",
    "SpliceModel": "Splice-site model of delta scores",
    "SpliceModelQuality": "Its measured quality",
    "SpliceModelSHA256": "Its weights, SHA-256",
    "DeltaDistance": "How far delta scores look, nt",
    "DeltaMasked": "Delta scores masked",
    "Precision": "Precision",
    "Device": "Device",
    "BatchTokens": "Tokens in a call",
    "Reference": "Reference",
    "ReferenceSHA256": "Reference, SHA-256",
    "Annotation": "Gene annotation",
    "AnnotationDigest": "Gene annotation, digest",
    "Calibration": "Calibration table, SHA-256",
    "Store": "Score store",
    "Plugins": "Plugins",
}
