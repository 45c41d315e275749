from setuptools import setup

setup(
    name="splicebert-vep-example",
    version="0.1.0",
    description="Example plugin of splicebert-vep: GC content of the alleles, and a BED of disturbed bases",
    license="BSD-3-Clause",
    py_modules=["splicebert_vep_example"],
    python_requires=">=3.11",
    install_requires=["splicebert-vep-spec>=0.1,<0.2"],
    entry_points={"splicebert_vep": ["example = splicebert_vep_example"]},
)
