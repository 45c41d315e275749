"""The recipes for single files do what they say with the tools that are here; the others keep the tools' formats."""

import ast
import gzip
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from types import SimpleNamespace

import pysam
import pytest

from factories import EXAMPLES, ROOT, info, records

RECIPES = ROOT / "docs" / "recipes"

COMMAND = f"{shlex.quote(sys.executable)} -P -c 'from splicebert_vep.cli.main import main; main()'"
BOUND = "0.2"


def needs(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def needs_modules(*names):
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the program on its PATH, a plain FASTA, and an example bgzipped and indexed, whole and in part."""
    work = tmp_path_factory.mktemp("tools")
    shim = work / "bin" / "splicebert-vep"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {COMMAND} "$@"\n')
    shim.chmod(0o755)
    with gzip.open(EXAMPLES / "brca1.fa.gz") as packed, (work / "ref.fa").open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    pysam.faidx(str(work / "ref.fa"))
    # bcftools norm compares REF with a FASTA of the same contig names; the example's VCF says 17.
    text = re.sub(r"^17\t", "chr17\t", (EXAMPLES / "multiallelic.vcf").read_text(), flags=re.MULTILINE)
    lines = text.splitlines(keepends=True)
    head = [line for line in lines if line.startswith("#") and not line.startswith("##contig")]
    head.insert(1, "##contig=<ID=chr17,length=83257441>\n")
    records = [line for line in lines if not line.startswith("#")]
    one_sample = [line.replace("INFO\n", "INFO\tFORMAT\tS1\n") for line in head]
    genotypes = [line.replace("\n", "\tGT\t0/1\n") for line in records[:3]]  # vcfanno breaks a file without samples
    one_sample.insert(1, '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
    for name, some in (("in", [*head, *records]), ("other", [*one_sample, *genotypes])):
        (work / f"{name}.vcf").write_text("".join(some))
        pysam.tabix_compress(str(work / f"{name}.vcf"), str(work / f"{name}.vcf.gz"))
        pysam.tabix_index(str(work / f"{name}.vcf.gz"), preset="vcf")
    return work


def recipe(folder, name, *words):
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment["SPLICEBERT_VEP_CACHE"] = str(folder / "cache")
    done = subprocess.run(
        ["sh", str(RECIPES / name), *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def scored(path):
    """STATUS and DS_MAX by (POS, REF, ALT), read with pysam; None where there is none."""
    with pysam.VariantFile(str(path)) as file:
        return {
            (record.pos, record.ref, alt): (record.info["SpliceBERT_STATUS"][i], record.info["SpliceBERT_DS_MAX"][i])
            if "SpliceBERT_DS_MAX" in record.info
            else (record.info["SpliceBERT_STATUS"][i], None)
            for record in file
            for i, alt in enumerate(record.alts)
        }


@needs("bcftools")
def test_bcftools_filters_alleles_and_lists_the_unscored(folder):
    recipe(folder, "bcftools.sh", "in.vcf.gz", "ref.fa", "bcftools", BOUND)
    every = scored(folder / "bcftools" / "scored.vcf.gz")
    kept = scored(folder / "bcftools" / "disturbed.vcf.gz")
    above = {key for key, (_, value) in every.items() if value is not None and value >= float(BOUND)}
    assert 0 < len(above) < len(every)
    assert len(kept) == len(above)
    unscored = (folder / "bcftools" / "unscored.tsv").read_text().splitlines()
    told = sorted(line.split("\t")[4] for line in unscored if line.split("\t")[4] != "OK")
    assert told == sorted(status for status, _ in every.values() if status != "OK")
    assert {line.split("\t")[5] for line in unscored if line.split("\t")[4] == "OK"} <= {"NOT_JUDGEABLE"}
    table = (folder / "bcftools" / "disturbed.tsv").read_text().splitlines()
    assert len(table) == 1 + len(kept)
    assert {line.split("\t")[4] for line in table[1:]} == {"BRCA1"}


@needs("bcftools")
def test_split_vep_reads_the_scores_of_every_transcript(folder):
    before = EXAMPLES / "annotated_before.vcf"  # four records after VEP 115, two transcripts each, of BRCA1
    recipe(folder, "split-vep.sh", str(before), "ref.fa", "split-vep")
    table = (folder / "split-vep" / "transcripts.tsv").read_text()
    rows = [line.split("\t") for line in table.splitlines()]
    assert len(rows) == 8
    assert {(row[4], row[5]) for row in rows} == {("BRCA1", "ENST00000357654"), ("BRCA1", "ENST00000471181")}
    scores = [
        info(record[7])["SpliceBERT_DS_MAX"]
        for record in records((EXAMPLES / "annotated_before.expected.vcf").read_text())
    ]
    assert [float(row[8]) for row in rows] == pytest.approx([float(one) for one in scores for _ in "12"], abs=1.01e-4)
    assert all(row[7] != "." for row in rows)


@needs("bcftools", "vcfanno")
def test_vcfanno_carries_scores_to_the_same_alleles(folder):
    recipe(folder, "vcfanno.sh", "in.vcf.gz", "other.vcf.gz", "ref.fa", "vcfanno")
    every = scored(folder / "vcfanno" / "scored.split.vcf.gz")
    found = {}
    with pysam.VariantFile(str(folder / "vcfanno" / "annotated.vcf")) as file:
        for record in file:
            value = record.info.get("SpliceBERT_DS_MAX")
            found[record.pos, record.ref, record.alts[0]] = value[0] if isinstance(value, tuple) else value
    assert len(found) == 12  # three records of four ALTs
    for key, value in found.items():
        assert float(value) == pytest.approx(every[key][1], abs=1e-4), key


@needs("vcfanno")
def test_vcfanno_takes_no_missing_value_of_a_saturated_file_for_a_zero(folder, run):
    """An insertion has no LLR, an allele that the file lacks has nothing; the value of its own allele is carried."""
    place = folder / "saturated"
    place.mkdir()
    where = ("--region", "chr17:43047641-43047642", "--indels", "-R", folder / "ref.fa", "--backend", "null")
    assert run("saturate", *where, "-O", place / "scored.split.vcf.gz")[0] == 0
    every = {}
    with pysam.VariantFile(str(place / "scored.split.vcf.gz")) as file:
        for record in file:
            every[record.pos, record.ref, record.alts[0]] = dict(record.info)
    lines = [f"chr17\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t0/1\n" for pos, ref, alt in every]
    head = '##fileformat=VCFv4.2\n##contig=<ID=chr17>\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    names = "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "S"]) + "\n"
    (place / "other.vcf").write_text(head + names + "".join(lines) + lines[-1].replace("4304764", "4304774"))
    told = subprocess.run(
        ["vcfanno", "-base-path", str(place), str(RECIPES / "vcfanno.toml"), str(place / "other.vcf")],
        capture_output=True, check=True,
    )  # fmt: skip
    (place / "annotated.vcf").write_bytes(told.stdout)
    numbers = ("SpliceBERT_LLR", "SpliceBERT_DS_MAX", "SpliceBERT_KL_SS")
    with pysam.VariantFile(str(place / "annotated.vcf")) as file:
        *found, absent = list(file)
    assert len(found) == len(every) and not absent.info.keys()
    for record in found:
        own = every[record.pos, record.ref, record.alts[0]]
        assert ("SpliceBERT_LLR" in own) == (len(record.ref) == len(record.alts[0]))
        assert [record.info.get(key) for key in numbers] == [own.get(key) for key in numbers]
        assert record.info["SpliceBERT_STATUS"] == own["SpliceBERT_STATUS"]


@needs("bcftools", "genmod")
def test_genmod_gives_points_for_a_score(folder):
    recipe(folder, "genmod.sh", "in.vcf.gz", "ref.fa", "genmod")
    every = scored(folder / "genmod" / "scored.vcf")
    points = set()
    with pysam.VariantFile(str(folder / "genmod" / "ranked.vcf")) as file:
        for record in file:
            _, score = every[record.pos, record.ref, record.alts[0]]
            [ranked] = [str(value) for value in record.info["RankScore"]]
            wanted = 0 if score is None or score < 0.2 else 2 if score < 0.5 else 3
            assert float(ranked.rpartition(":")[2]) == wanted, (record.pos, score, ranked)
            points.add(wanted)
    assert points == {0, 3}


@needs_modules("pandas", "polars", "duckdb")
def test_three_libraries_answer_the_same(folder, run):
    words = ["annotate", folder / "in.vcf", "-R", folder / "ref.fa", "--emit", f"parquet={folder / 't.parquet'}"]
    assert run(*words)[0] == 0
    spec = importlib.util.spec_from_file_location("tables", RECIPES / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    path = str(folder / "t.parquet")
    by_pandas, by_polars, by_duckdb = (
        [tuple(row) for row in answer(path)] for answer in (tables.with_pandas, tables.with_polars, tables.with_duckdb)
    )
    assert by_pandas == by_polars == by_duckdb
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    best = sorted(row["DS_MAX"] for row in rows if row["DS_MAX"] is not None and row["SYMBOL"] == "BRCA1")[-3:]
    assert [row[-1] for row in by_duckdb if row[0] == "BRCA1"] == best[::-1]


@needs_modules("snakemake")
def test_the_stage_of_snakemake_scores_each_file(folder, tmp_path):
    (tmp_path / "calls").mkdir()
    for name in ("one", "two"):
        shutil.copy(folder / "in.vcf.gz", tmp_path / "calls" / f"{name}.vcf.gz")
    program = tmp_path / "bin" / "splicebert-vep"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {COMMAND} "$@" --backend null\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"SPLICEBERT_VEP_CACHE": str(folder / "cache"), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    words = ["--cores", "2", "--config", "vcfs=calls", f"reference={folder / 'ref.fa'}", "out=scored"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "snakemake", "-s", str(RECIPES / "annotate.smk"), *words],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("one", "two"):
        assert len(scored(tmp_path / "scored" / f"{name}.vcf.gz")) == 18
        assert json.loads((tmp_path / "scored" / f"{name}.json").read_text())["alleles"] == 18


@pytest.mark.parametrize("script", sorted(path.name for path in RECIPES.glob("*.sh") if path.name != "slurm.sh"))
def test_the_scripts_parse(script):
    done = subprocess.run(["sh", "-n", str(RECIPES / script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def fields_in(text):
    return set(re.findall(r"SpliceBERT_(?!pred_)([A-Z][A-Z_]*[A-Z])", text))


def test_every_field_that_a_recipe_names_is_written(folder, run):
    target = folder / "named.vcf"
    words = ["annotate", folder / "in.vcf", "-R", folder / "ref.fa", "--backend", "null", "-O", target]
    assert run(*words)[0] == 0
    with pysam.VariantFile(str(target)) as file:
        known = {key.removeprefix("SpliceBERT_") for key in file.header.info if key.startswith("SpliceBERT_")}
    named = {path.name: fields_in(path.read_text()) for path in RECIPES.rglob("*") if path.suffix in (".sh", ".toml")}
    named["json"] = fields_in((RECIPES / "echtvar.json").read_text())
    named["ini"] = fields_in((RECIPES / "genmod.ini").read_text())
    assert sum(map(bool, named.values())) >= 6
    for name, fields in named.items():
        assert fields <= known, name


def test_the_vcfanno_configuration_has_one_name_and_one_operation_per_field():
    [annotation] = tomllib.loads((RECIPES / "vcfanno.toml").read_text())["annotation"]
    assert len(annotation["fields"]) == len(annotation["names"]) == len(annotation["ops"])
    assert set(annotation["ops"]) == {"self"}


def test_the_echtvar_configuration_keeps_four_decimals_signs_and_missing_values():
    """Keys as echtvar's README describes them: floats are stored as integers, value x multiplier."""
    for field in json.loads((RECIPES / "echtvar.json").read_text()):
        assert set(field) == {"field", "alias", "multiplier", "zigzag", "missing_value"}
        assert field["multiplier"] == 10_000
        assert field["zigzag"] is True
        assert field["field"] in ("SpliceBERT_DS_MAX", "SpliceBERT_KL_SS")  # never negative
        assert field["missing_value"] == -10_000  # echtvar writes -1 for missing values and absent alleles


@pytest.mark.skipif(not shutil.which("bcftools"), reason="bcftools chooses the scored alleles")
def test_slivars_rules_take_no_unscored_or_absent_allele_for_disturbed(tmp_path):
    """slivar is not here; by its source, gnotate writes -1 for every field of an allele that the archive lacks."""
    script = (RECIPES / "slivar.sh").read_text()
    head = "".join(
        f'##INFO=<ID=SpliceBERT_{key},Number=A,Type={kind},Description="x">\n'
        for key, kind in (("DS_MAX", "Float"), ("NGENES", "Integer"))
    )
    infos = ["SpliceBERT_DS_MAX=0.25;SpliceBERT_NGENES=1", "SpliceBERT_NGENES=1"]
    infos += ["SpliceBERT_DS_MAX=.;SpliceBERT_NGENES=1", "."]
    rows = [f"1\t{pos}\t.\tA\tC\t.\t.\t{one}" for pos, one in enumerate(infos, start=1)]
    source = tmp_path / "scored.vcf"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    source.write_text("##fileformat=VCFv4.3\n##contig=<ID=1>\n" + head + columns + "\n".join(rows) + "\n")
    [chosen] = re.findall(r"^bcftools view -i '(.*)' ", script, re.MULTILINE)
    done = subprocess.run(["bcftools", "view", "-H", "-i", chosen, source], check=True, capture_output=True, text=True)
    archive = {line.split("\t")[1] for line in done.stdout.splitlines()}
    assert archive == {"1"}
    rule = re.findall(r'--info "(INFO.*)"', script)[-1].replace("$bound", "0.0")
    passing = []
    for pos in "12345":  # 5 is in no file
        there = pos in archive
        if eval(rule, {"INFO": SimpleNamespace(splicebert_ds_max=0.25 if there else -1)}):
            passing.append(pos)
    assert passing == ["1"]


def test_the_custom_file_of_vep_is_described_as_vep_115_wants_it():
    """``--custom`` is key=value pairs with commas; its fields are joined by %."""
    [custom] = re.findall(r"^    --custom (\S+)", (RECIPES / "vep" / "custom.sh").read_text(), re.MULTILINE)
    pairs = dict(pair.split("=", 1) for pair in custom.split(","))
    assert pairs["format"] == "vcf"
    assert pairs["type"] == "exact"
    assert pairs["coords"] == "0"
    assert pairs["short_name"] == "SpliceBERT"
    assert set(pairs) == {"file", "short_name", "format", "type", "coords", "fields"}
    assert all(field.startswith("SpliceBERT_") for field in pairs["fields"].split("%"))


def test_the_nextflow_stage_has_the_parts_of_a_process():
    text = (RECIPES / "annotate.nf").read_text()
    bare = re.sub(r"//.*", "", text)
    for opening, closing in ("{}", "()", "[]"):
        assert bare.count(opening) == bare.count(closing)
    assert re.findall(r"^    (input|output|script):$", bare, re.MULTILINE) == ["input", "output", "script"]
    for parameter in re.findall(r"params\.(\w+)", bare):
        assert re.search(rf"^params\.{parameter} = ", bare, re.MULTILINE), parameter


NF_MODULE = RECIPES / "nf-core" / "splicebertvep" / "annotate"


@pytest.mark.parametrize("section", ["script", "stub"])
def test_the_nf_core_module_makes_what_it_declares(section, folder, tmp_path):
    """Nextflow is not here: its text blocks are rendered as Groovy would, and bash runs them."""
    text = (NF_MODULE / "main.nf").read_text()
    [block] = re.findall(rf'^    {section}:.*?"""\n(.*?)"""', text, re.MULTILINE | re.DOTALL)
    words = {"vcf": folder / "in.vcf", "fasta": folder / "ref.fa", "annotation": "", "task.cpus": 1, "prefix": "S1"}
    words |= {"args": "--backend null --scores LLR", "task.process": "SPLICEBERTVEP_ANNOTATE"}
    for name, value in words.items():
        block = block.replace(f"${{{name}}}", str(value))
    block = textwrap.dedent(block.replace("\\\\", "\\").replace("\\$", "$"))
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment["SPLICEBERT_VEP_CACHE"] = str(folder / "cache")
    done = subprocess.run(["bash", "-ue", "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    declared = re.findall(r'path\("([^"]+)"\)|path "([^"]+)"', text)
    assert {path.name for path in tmp_path.iterdir()} == {
        (one or other).replace("${prefix}", "S1") for one, other in declared if "moduleDir" not in one + other
    }
    version = importlib.metadata.version("splicebert-vep")
    assert (tmp_path / "versions.yml").read_text() == f'"SPLICEBERTVEP_ANNOTATE":\n    splicebert-vep: {version}\n'
    if section == "script":
        assert len(scored(tmp_path / "S1.vcf.gz")) == 18
        assert json.loads((tmp_path / "S1.json").read_text())["alleles"] == 18


def test_the_nf_core_module_and_its_description_name_the_same_channels():
    module, described = (NF_MODULE / "main.nf").read_text(), (NF_MODULE / "meta.yml").read_text()
    emitted = re.findall(r"emit: (\w+)", module)
    assert re.findall(r"^  (\w+):$", described.partition("output:")[2], re.MULTILINE) == emitted
    taken = re.findall(r"(?:val|path)\((\w+)\)", module.partition("input:")[2].partition("output:")[0])
    inputs = described.partition("\ninput:")[2].partition("\noutput:")[0]
    assert re.findall(r"- (\w+):$", inputs, re.MULTILINE) == taken
    for opening, closing in ("{}", "()", "[]"):
        assert module.count(opening) == module.count(closing)


@needs_modules("snakemake")
def test_the_wrapper_of_snakemake_scores_a_file(folder, tmp_path):
    wrapper = RECIPES / "snakemake-wrapper"
    rule = (wrapper / "test" / "Snakefile").read_text()
    rule = rule.replace("master/bio/splicebert-vep/annotate", f"file://{wrapper}")
    rule = rule.replace("--annotation grch38", "--annotation grch38 --backend null --scores LLR")
    (tmp_path / "Snakefile").write_text(rule)
    shutil.copy(folder / "in.vcf", tmp_path / "S1.vcf")
    shutil.copy(EXAMPLES / "brca1.fa.gz", tmp_path / "genome.fa.gz")
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"SPLICEBERT_VEP_CACHE": str(folder / "cache"), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "snakemake", "--cores", "1", "S1.splicebert.vcf.gz"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(scored(tmp_path / "S1.splicebert.vcf.gz")) == 18
    assert json.loads((tmp_path / "S1.splicebert.json").read_text())["alleles"] == 18
    assert "18 ALTs" in (tmp_path / "S1.splicebert.log").read_text()


@needs_modules("multiqc")
def test_multiqc_shows_the_numbers_of_each_sample(run, tmp_path):
    samples = {"S1": "brca1", "S2": "multiallelic"}
    for sample, name in samples.items():
        source = EXAMPLES / f"{name}.expected.vcf"
        assert run("report", source, "--multiqc", tmp_path / "qc", "--sample", sample)[0] == 0
    words = ["--no-version-check", "--strict", "--outdir", "out", "qc"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "multiqc", *words],
        cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "multiqc_report.html").exists()
    for part, table in (("statuses", "statuses_plot"), ("summary", "summary_table")):
        text = (tmp_path / "out" / "multiqc_data" / f"multiqc_splicebert_vep_{table}.txt").read_text()
        head, *rows = [line.split("\t") for line in text.splitlines()]
        shown = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
        assert shown.keys() == samples.keys()
        for sample in samples:
            written = json.loads((tmp_path / "qc" / f"{sample}.splicebert_{part}_mqc.json").read_text())
            for key, value in written["data"][sample].items():
                found = shown[sample][key]
                assert found == value if isinstance(value, str) else float(found) == pytest.approx(value), key


#: Names in conda-forge and bioconda where they are not PyPI's.
CONDA = {"isal": "python-isal", "torch": "pytorch", "zlib-ng": "python-zlib-ng"}


def test_the_bioconda_recipe_needs_what_setup_says():
    tree = ast.parse((ROOT / "setup.py").read_text())
    needs = {word.arg: word.value for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords}
    wanted = {"python": ast.literal_eval(needs["python_requires"])}
    for requirement in ast.literal_eval(needs["install_requires"]):
        name, bounds = re.fullmatch(r"([\w-]+)(\W.*)", requirement).groups()
        wanted[CONDA.get(name, name)] = bounds
    del wanted["splicebert-vep-spec"]  # built in the same package
    recipe = (RECIPES / "bioconda" / "meta.yaml").read_text()
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    assert dict(re.findall(r"^    - (\S+) (\S+)$", run, re.MULTILINE)) == wanted
