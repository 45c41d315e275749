"""Embeddings: hidden states of genes, regions, FASTA records and alleles, 5' to 3' of the transcript.

``targets`` and ``variants`` find what is embedded, ``windows`` cuts it, ``embed`` runs the windows and stitches them,
``files`` writes HDF5, Parquet and AnnData.
"""
