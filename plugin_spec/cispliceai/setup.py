from setuptools import setup

setup(
    name="splicebert-vep-cispliceai",
    version="0.1.0",
    description="Plugin of splicebert-vep: CI-SpliceAI's splice-site network, in torch, with its authors' weights",
    license="BSD-3-Clause AND CC-BY-4.0",  # the plugin, and the weights: see WEIGHTS.md
    license_files=["splicebert_vep_cispliceai/WEIGHTS.md", "splicebert_vep_cispliceai/CC-BY-4.0.txt"],
    packages=["splicebert_vep_cispliceai"],
    package_data={"splicebert_vep_cispliceai": ["weights.safetensors", "WEIGHTS.md", "CC-BY-4.0.txt"]},
    python_requires=">=3.11",
    install_requires=["safetensors>=0.4.3", "splicebert-vep>=0.1,<0.2"],
    entry_points={"splicebert_vep": ["cispliceai = splicebert_vep_cispliceai"]},
)
