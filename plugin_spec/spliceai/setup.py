from setuptools import setup

setup(
    name="splicebert-vep-spliceai",
    version="0.1.0",
    description="Plugin of splicebert-vep: the delta scores of your own SpliceAI installation as fields",
    license="BSD-3-Clause",  # of this plugin; SpliceAI, which it does not contain, has its own: see README.md
    py_modules=["splicebert_vep_spliceai"],
    python_requires=">=3.11",
    install_requires=["splicebert-vep-spec>=0.1,<0.2"],  # and not spliceai: it runs the one that is there
    entry_points={"splicebert_vep": ["spliceai = splicebert_vep_spliceai"]},
)
