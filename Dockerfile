# splicebert-vep with CI-SpliceAI's network, on a CPU, for a user that is not root; also read-only and without a network:
#   docker build -t splicebert-vep .
#   docker run --rm --read-only --network none splicebert-vep \
#       splicebert-vep annotate /opt/splicebert-vep/example_vcfs/brca1.vcf -R /opt/splicebert-vep/example_vcfs/brca1.fa.gz
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
# PyPI's torch brings gigabytes of CUDA; this index has builds for the CPU alone.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt ./
RUN python3 -m venv /opt/venv \
    && pip install --extra-index-url "${TORCH_INDEX}" -c constraints.txt "$(grep '^torch==' constraints.txt)+cpu"
COPY . .
RUN pip install -c constraints.txt ./plugin_spec . ./plugin_spec/cispliceai \
    && pip uninstall --yes pip \
    && find /opt/venv -type d '(' -name tests -o -path '*/torch/test' -o -path '*/torch/include' -o -path '*/pyarrow/include' ')' \
        -prune -exec rm -r '{}' + \
    && find /opt/venv -path '*/torch/bin/*' ! -name torch_shm_manager -type f -delete

FROM ${BASE}
LABEL org.opencontainers.image.title="splicebert-vep" \
      org.opencontainers.image.description="Splice scores for every ALT allele of a VCF" \
      org.opencontainers.image.licenses="BSD-3-Clause AND CC-BY-4.0"
# Nextflow asks ps how much memory and time a task takes.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends procps && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/venv /opt/venv
COPY LICENSE /opt/splicebert-vep/
COPY plugin_spec/cispliceai/splicebert_vep_cispliceai/WEIGHTS.md /opt/splicebert-vep/CI-SpliceAI.md
COPY example_vcfs /opt/splicebert-vep/example_vcfs
ENV PATH=/opt/venv/bin:$PATH
USER 65534:65534
# No ENTRYPOINT: workflow engines start a shell.
CMD ["splicebert-vep", "--help"]
