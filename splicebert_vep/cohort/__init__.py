"""Cohorts: score each allele of many files once, on one machine or many, and survive being killed.

``inputs`` reads the manifest, ``planning`` finds what is new and cuts it into units (``plan``), ``work`` scores units
into ``shards``, ``merge`` stores them, annotates every file and writes the ``table``; ``run`` is these in turn.
``saturate`` scores every allele of ``places`` in the same way, into a precomputed file.
``diff`` compares the tables of two runs.
"""
