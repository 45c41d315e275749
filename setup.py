from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
TRAINING = [  # pretrain and evaluate: pictures and figures
    "matplotlib>=3.9",
    "scikit-learn>=1.5",
]
REPORT = [  # report and plot
    "jinja2>=3.1",
    "matplotlib>=3.9",
]
SERVE = [*REPORT, "anyio>=4", "starlette>=1.0", "uvicorn>=0.30"]  # serve, whose cards are a report's
EMBED = ["h5py>=3.12"]  # embed, every nucleotide
# embed -o FILE.h5ad. Not for tests: it wants pandas before 3, beside zarr; its tests skip where it is missing.
ANNDATA = ["anndata>=0.12", *EMBED]
TRACKS = ["pyBigWig>=0.3.24"]  # tracks -o FILE.bw
DASK = ["distributed>=2025.1"]  # cohort --dask
RECIPES = [
    "duckdb>=1.4",
    "genmod>=3.12",
    "igv-reports>=1.14",
    "multiqc>=1.35",
    "pandas>=2.2",
    "polars>=1.30",
]  # of docs/recipes

setup(
    name="splicebert-vep",
    version="0.1.0",
    description="Splice sites and transcripts that alleles in VCF change, by splice-site networks and a language model",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    packages=find_packages(include=["splicebert_vep", "splicebert_vep.*"]),
    package_data={
        "splicebert_vep": ["py.typed"],
        "splicebert_vep.genome": ["tables/*.parquet"],
        "splicebert_vep.model": ["bundled/*/*"],
        "splicebert_vep.tools.report": ["template/*"],
        "splicebert_vep.tools.serve": ["template/*"],
    },
    python_requires=">=3.11",
    install_requires=[  # lower bounds were tried, all at once; torch 2.13 is what CI and every published figure have
        "splicebert-vep-spec>=0.1,<0.2",
        "click>=8.5",
        "cloup>=4,<5",
        "isal>=1.6.1",  # inflates gzip
        "msgspec>=0.18.6",  # checks declarations and recipes
        "numpy>=1.26",
        "pluggy>=1.5",
        "pyahocorasick>=2.1",  # oligo: other places of a sequence
        "pyarrow>=17",
        "pysam>=0.22.1",
        "safetensors>=0.4.3",
        "torch>=2.2,<3",
        "tqdm>=4.66.1",
        "zlib-ng>=0.4.3",  # packs BGZF
    ],
    extras_require={
        "training": TRAINING,
        "report": REPORT,
        "serve": SERVE,
        "embed": EMBED,
        "anndata": ANNDATA,
        "dask": DASK,
        "tracks": TRACKS,
        "docs": ["mkdocs>=1.6", "mkdocstrings[python]>=1"],  # mkdocs serve: the pages and the API reference
        "recipes": RECIPES,
        "test": [
            *TRAINING,
            *REPORT,
            *SERVE,
            *EMBED,
            *DASK,
            *TRACKS,
            "cispliceai==1.2.2",  # its weights are compared with those of our plugin; never imported
            "cyvcf2>=0.31",
            "httpx2>=2",  # asks the server in tests
            "hypothesis>=6.100",
            "mypy>=1.11",
            "axe-playwright-python>=0.1.4",  # axe-core, MPL-2.0, in tests only
            "playwright>=1.50",  # drives the system's Chromium; nothing is downloaded
            "protobuf>=4",  # reads them
            "pytest>=8",
            "pytest-cov>=5",
            "pytest-xdist>=3.6",  # the suite runs in two processes
            "ruff>=0.6",
            "snakemake>=9",  # runs docs/recipes/Snakefile
            "setuptools>=77",  # builds the example plugin's wheel
            "transformers>=5",
        ],
    },
    entry_points={"console_scripts": ["splicebert-vep = splicebert_vep.cli.main:main"]},
)
