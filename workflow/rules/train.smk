# REQUIRED INPUTS: data/images.npz, data/split.csv
# OUTPUTS:
#   original/<number>.safetensors          weights of an original model
#   fleets/original/<number>/models.npz    its logits; .json: what it cost
#   fleets/{oracle,retrain}/models-*.npz   logits of the retrained fleets, in shards; .json: what they cost


rule train_original:
    """Train an original model on all training images, the forget set included."""
    input:
        images=rules.prepare_data.output.images,
        split_table=rules.prepare_data.output.split_table,
        code=lambda wildcards: stage_code("train_original", *plan(wildcards).modules()),
        lock="requirements.txt",
    output:
        weights="results/{experiment}/original/{original}.safetensors",
        fleet="results/{experiment}/fleets/original/{original}/models.npz",
        cost="results/{experiment}/fleets/original/{original}/models.json",
    log:
        "results/{experiment}/logs/original/{original}.log",
    benchmark:
        "results/{experiment}/benchmarks/original/{original}.tsv"
    # All unlearning waits for the original model, so it goes first.
    priority: 10
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("train_original"),
        runtime=minutes("train_original"),
    params:
        settings=lambda wildcards: plan(wildcards).settings(
            "seed",
            "network",
            "precision",
            recipe=plan(wildcards).experiment.training,
        ),
    message:
        "Training original model {wildcards.original}"
    shell:
        "python -m random_mask.stages.train_original --settings {params.settings:q} "
        "--original {wildcards.original} --images {input.images:q} --split-table {input.split_table:q} "
        "--weights {output.weights:q} --output {output.fleet:q} --cost {output.cost:q} 2> {log:q}"


rule retrain:
    """Retrain some models of a fleet from scratch on the retain set."""
    input:
        images=rules.prepare_data.output.images,
        split_table=rules.prepare_data.output.split_table,
        code=lambda wildcards: stage_code("retrain", *plan(wildcards).modules()),
        lock="requirements.txt",
    output:
        fleet="results/{experiment}/fleets/{fleet}/models-{first}-{last}.npz",
        cost="results/{experiment}/fleets/{fleet}/models-{first}-{last}.json",
    log:
        "results/{experiment}/logs/{fleet}/models-{first}-{last}.log",
    benchmark:
        "results/{experiment}/benchmarks/{fleet}/models-{first}-{last}.tsv"
    wildcard_constraints:
        fleet="oracle|retrain",
    # The longest jobs go before the short ones, so that all cores are busy to the end.
    priority: 5
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("retrain"),
        runtime=minutes("retrain"),
    params:
        settings=lambda wildcards: plan(wildcards).settings(
            "seed",
            "network",
            "precision",
            recipe=plan(wildcards).experiment.training,
        ),
    message:
        "Retraining models {wildcards.first} to {wildcards.last} of the {wildcards.fleet} fleet"
    shell:
        "python -m random_mask.stages.retrain --settings {params.settings:q} --fleet {wildcards.fleet} "
        "--first {wildcards.first} --last {wildcards.last} "
        "--images {input.images:q} --split-table {input.split_table:q} "
        "--output {output.fleet:q} --cost {output.cost:q} 2> {log:q}"
