from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent

setup(
    name="splicebert-vep-spec",
    version="0.1.0",
    description="The contract between splicebert-vep and its plugins: types, base classes and hook specifications",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    packages=["splicebert_vep_spec"],
    package_data={"splicebert_vep_spec": ["py.typed"]},
    python_requires=">=3.11",
    install_requires=["pluggy>=1.5"],
)
