"""In-silico mutagenesis: what every SNV of a region does, and which bases the model sees in relation to which."""
