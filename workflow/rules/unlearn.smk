# REQUIRED INPUTS: data/images.npz, data/split.csv, original/<number>.safetensors
# OUTPUTS, per fleet, if the experiment has `relearn`:
#   relearn/<fleet>.npz   the loss on the forget set while some of its models learn it again
# OUTPUTS, per method and original model, in shards:
#   masks/<method>/original-<number>/models-*.safetensors   the masks, one bit a weight, of methods that draw any
#   masks/<method>/original-<number>/models-*.csv           how many weights of each tensor are masked
#   fleets/<method>/original-<number>/models-*.npz          logits of the unlearned models; .json: their cost
# Methods that are a person's own function read its files, too, and draw no masks.


rule mask:
    """Draw the masks of some models: the first half of unlearning by a random mask."""
    input:
        weights=rules.train_original.output.weights,
        code=stage_code("mask"),
        lock="requirements.txt",
    output:
        masks="results/{experiment}/masks/{method}/original-{original}/models-{first}-{last}.safetensors",
        table="results/{experiment}/masks/{method}/original-{original}/models-{first}-{last}.csv",
    log:
        "results/{experiment}/logs/{method}/original-{original}/mask-{first}-{last}.log",
    benchmark:
        "results/{experiment}/benchmarks/{method}/original-{original}/mask-{first}-{last}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("mask"),
        runtime=minutes("mask"),
    params:
        settings=lambda wildcards: plan(wildcards, made_by="steps").settings(
            "seed", "network", steps=plan(wildcards).mask_drawings(wildcards.method)
        ),
    message:
        "Drawing masks for models {wildcards.first} to {wildcards.last} of {wildcards.method}"
    shell:
        "python -m random_mask.stages.mask --settings {params.settings:q} "
        "--role {wildcards.method}/original-{wildcards.original} "
        "--first {wildcards.first} --last {wildcards.last} --weights {input.weights:q} "
        "--masks {output.masks:q} --table {output.table:q} 2> {log:q}"


rule unlearn:
    """Unlearn: perturb the original weights and fine-tune them, as the method says."""
    input:
        images=rules.prepare_data.output.images,
        split_table=rules.prepare_data.output.split_table,
        weights=rules.train_original.output.weights,
        masks=lambda wildcards: plan(wildcards, made_by="steps").masks(
            wildcards.method, wildcards.original, wildcards.first, wildcards.last
        ),
        code=lambda wildcards: stage_code(
            "unlearn", *plan(wildcards).modules(wildcards.method)
        ),
        lock="requirements.txt",
    output:
        fleet="results/{experiment}/fleets/{method}/original-{original}/models-{first}-{last}.npz",
        cost="results/{experiment}/fleets/{method}/original-{original}/models-{first}-{last}.json",
    log:
        "results/{experiment}/logs/{method}/original-{original}/unlearn-{first}-{last}.log",
    benchmark:
        "results/{experiment}/benchmarks/{method}/original-{original}/unlearn-{first}-{last}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("unlearn"),
        runtime=minutes("unlearn"),
    params:
        settings=lambda wildcards: plan(wildcards).settings(
            "seed",
            "network",
            "precision",
            steps=plan(wildcards).steps(wildcards.method),
        ),
    message:
        "Unlearning models {wildcards.first} to {wildcards.last} of {wildcards.method}"
    shell:
        "python -m random_mask.stages.unlearn --settings {params.settings:q} "
        "--role {wildcards.method}/original-{wildcards.original} "
        "--first {wildcards.first} --last {wildcards.last} "
        "--images {input.images:q} --split-table {input.split_table:q} "
        "--weights {input.weights:q} --masks {input.masks:q} "
        "--output {output.fleet:q} --cost {output.cost:q} 2> {log:q}"


rule unlearn_own:
    """Unlearn by a function of a person's own file."""
    input:
        images=rules.prepare_data.output.images,
        split_table=rules.prepare_data.output.split_table,
        weights=rules.train_original.output.weights,
        files=lambda wildcards: plan(wildcards, made_by="function").own_files(
            wildcards.method
        ),
        code=stage_code("unlearn_own"),
        lock="requirements.txt",
    output:
        fleet="results/{experiment}/own/{method}/original-{original}/models-{first}-{last}.npz",
        cost="results/{experiment}/own/{method}/original-{original}/models-{first}-{last}.json",
    log:
        "results/{experiment}/logs/{method}/original-{original}/unlearn_own-{first}-{last}.log",
    benchmark:
        "results/{experiment}/benchmarks/{method}/original-{original}/unlearn_own-{first}-{last}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("unlearn_own"),
        runtime=minutes("unlearn_own"),
    params:
        settings=lambda wildcards: plan(wildcards).settings(
            "seed", "network", **plan(wildcards).own(wildcards.method)
        ),
        state=lambda wildcards: plan(wildcards).own_state(wildcards.method),
    message:
        "Unlearning models {wildcards.first} to {wildcards.last} by {wildcards.method}, a function of your own"
    shell:
        "python -m random_mask.stages.unlearn_own --settings {params.settings:q} "
        "--role {wildcards.method}/original-{wildcards.original} "
        "--first {wildcards.first} --last {wildcards.last} "
        "--images {input.images:q} --split-table {input.split_table:q} "
        "--weights {input.weights:q} --files {input.files:q} "
        "--output {output.fleet:q} --cost {output.cost:q} 2> {log:q}"


rule relearn:
    """Let the first models of a fleet learn the forget set again."""
    input:
        images=rules.prepare_data.output.images,
        split_table=rules.prepare_data.output.split_table,
        weights=lambda wildcards: plan(wildcards, needs="relearn").start(wildcards.role),
        masks=lambda wildcards: plan(wildcards).masks_of(wildcards.role),
        code=lambda wildcards: stage_code(
            "relearn", *plan(wildcards).relearn_modules(wildcards.role)
        ),
        lock="requirements.txt",
    output:
        "results/{experiment}/relearn/{role}.npz",
    log:
        "results/{experiment}/logs/relearn/{role}.log",
    benchmark:
        "results/{experiment}/benchmarks/relearn/{role}.tsv"
    wildcard_constraints:
        role=r"oracle|retrain|[a-z0-9_.]+/original-\d+",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("relearn"),
        runtime=minutes("relearn"),
    params:
        settings=lambda wildcards: plan(wildcards).settings(
            "seed",
            "network",
            "precision",
            recipe=plan(wildcards).experiment.training,
            steps=plan(wildcards).steps(wildcards.role.partition("/")[0]),
            models=plan(wildcards).experiment.relearn.models,
            relearning=plan(wildcards).experiment.relearn.finetune,
            masks_in_a_file=plan(wildcards).experiment.shards.unlearn,
        ),
    message:
        "Relearning with models of {wildcards.role}"
    shell:
        "python -m random_mask.stages.relearn --settings {params.settings:q} --role {wildcards.role} "
        "--images {input.images:q} --split-table {input.split_table:q} "
        "--weights {input.weights:q} --masks {input.masks:q} --output {output:q} 2> {log:q}"
