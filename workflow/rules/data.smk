# REQUIRED INPUTS: the data set that the configuration names.
# OUTPUTS:
#   <repository>/data/<archive>  official archive of a data set that is downloaded, for all experiments
#   data/images.npz  all images as uint8, labels, mean and standard deviation of the retain set
#   data/split.csv   the split of each image: retain, forget, validation or test


# Cluster nodes may have no network; the machine where `snakemake` runs is likelier to.
localrules:
    download,


rule download:
    """Download an official archive of a data set."""

    # No inputs: neither an edit nor its age makes it anew, and one that was put there by hand is taken.
    output:
        archive=update("data/{archive}"),
    log:
        "results/download/{archive}.log",
    benchmark:
        "results/download/{archive}.tsv"
    wildcard_constraints:
        archive="|".join(
            re.escape(Path(path).name) for paths in ARCHIVES.values() for path in paths
        ),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("download"),
        runtime=minutes("download"),
    message:
        "Downloading {wildcards.archive}"
    shell:
        "python -m random_mask.stages.download --archive {output.archive:q} 2> {log:q}"


rule prepare_data:
    """Read the data set and divide it."""
    input:
        files=lambda wildcards: plan(wildcards).data_files,
        code=stage_code("prepare_data"),
        lock="requirements.txt",
    output:
        images="results/{experiment}/data/images.npz",
        split_table="results/{experiment}/data/split.csv",
    log:
        "results/{experiment}/logs/prepare_data.log",
    benchmark:
        "results/{experiment}/benchmarks/prepare_data.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("prepare_data"),
        runtime=minutes("prepare_data"),
    params:
        # A function, so that only who plans this job looks at the images.
        settings=lambda wildcards: plan(wildcards).settings(
            "seed",
            data=plan(wildcards).data,
            state=plan(wildcards).data_state,
            batches=plan(wildcards).batches,
        ),
    message:
        "Reading and dividing the data"
    shell:
        "python -m random_mask.stages.prepare_data --settings {params.settings:q} "
        "--files {input.files:q} --images {output.images:q} --split-table {output.split_table:q} 2> {log:q}"
