"""Embeddings: hidden states of genes, regions and FASTA records, 5' to 3' of the transcript.

``targets`` finds what is embedded, ``embed`` runs its windows and stitches them, ``files`` writes HDF5 and Parquet.
"""
