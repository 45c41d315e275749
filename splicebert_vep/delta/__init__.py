"""Delta scores: how an allele changes the splice sites that a fine-tuned model sees."""
