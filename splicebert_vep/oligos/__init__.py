"""Splice-switching oligos: what a model expects of a splice site when a stretch beside it is hidden.

``aim`` finds the sites, ``tiles`` the stretches, ``hiding`` runs the model, ``off_targets`` reads the FASTA, ``oligos``
puts it together and ranks, ``tables`` writes.
"""
