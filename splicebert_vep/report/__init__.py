"""What people read: a page about an annotated file, pictures of single variants, and numbers for MultiQC."""
