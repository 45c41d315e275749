from setuptools import setup

setup(
    name="splicebert-vep-cispliceai",
    version="0.1.0",
    description="Plugin of splicebert-vep: CI-SpliceAI's splice-site network, in torch",
    license="BSD-3-Clause",  # of this plugin; the weights, which it does not contain, are CC BY 4.0: see README.md
    py_modules=["splicebert_vep_cispliceai"],
    python_requires=">=3.11",
    install_requires=[
        "cispliceai==1.2.2",  # its folder is found and its weights are read; it is never imported, nor is TensorFlow
        "protobuf>=4",
        "splicebert-vep>=0.1,<0.2",
    ],
    entry_points={"splicebert_vep": ["cispliceai = splicebert_vep_cispliceai"]},
)
