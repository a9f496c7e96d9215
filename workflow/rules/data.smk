# REQUIRED INPUTS: the data set that the configuration names.
# OUTPUTS:
#   data/images.npz  all images as uint8, labels, mean and standard deviation of the retain set
#   data/split.csv   the part of each image: retain, forget, validation or test


rule prepare_data:
    """Read the data set and divide it."""
    input:
        files=plan.data_files,
        code=stage_code("prepare_data"),
        lock="requirements.txt",
    output:
        images=plan.path("data/images.npz"),
        split_table=plan.path("data/split.csv"),
    log:
        plan.path("logs/prepare_data.log"),
    benchmark:
        plan.path("benchmarks/prepare_data.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("prepare_data"),
        runtime=needs.minutes("prepare_data"),
    params:
        settings=plan.settings(
            seed=experiment.seed, data=plan.data, folder=plan.data_folder
        ),
    message:
        "Reading and dividing the data"
    shell:
        "python -m random_mask.stages.prepare_data --settings {params.settings:q} "
        "--files {input.files:q} --images {output.images:q} --split-table {output.split_table:q} 2> {log:q}"
