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
        code=stage_code("train_original", *plan.modules()),
        lock="requirements.txt",
    output:
        weights=plan.path("original/{original}.safetensors"),
        fleet=plan.path("fleets/original/{original}/models.npz"),
        cost=plan.path("fleets/original/{original}/models.json"),
    log:
        plan.path("logs/original/{original}.log"),
    benchmark:
        plan.path("benchmarks/original/{original}.tsv")
    # All unlearning waits for the original model, so it goes first.
    priority: 10
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("train_original"),
        runtime=needs.minutes("train_original"),
    params:
        settings=plan.settings(
            seed=experiment.seed,
            network=experiment.network,
            recipe=experiment.training,
            precision=experiment.precision,
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
        code=stage_code("retrain", *plan.modules()),
        lock="requirements.txt",
    output:
        fleet=plan.path("fleets/{fleet}/models-{first}-{last}.npz"),
        cost=plan.path("fleets/{fleet}/models-{first}-{last}.json"),
    log:
        plan.path("logs/{fleet}/models-{first}-{last}.log"),
    benchmark:
        plan.path("benchmarks/{fleet}/models-{first}-{last}.tsv")
    wildcard_constraints:
        fleet="oracle|retrain",
    # The longest jobs go before the short ones, so that all cores are busy to the end.
    priority: 5
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("retrain"),
        runtime=needs.minutes("retrain"),
    params:
        settings=plan.settings(
            seed=experiment.seed,
            network=experiment.network,
            recipe=experiment.training,
            precision=experiment.precision,
        ),
    message:
        "Retraining models {wildcards.first} to {wildcards.last} of the {wildcards.fleet} fleet"
    shell:
        "python -m random_mask.stages.retrain --settings {params.settings:q} --fleet {wildcards.fleet} "
        "--first {wildcards.first} --last {wildcards.last} "
        "--images {input.images:q} --split-table {input.split_table:q} "
        "--output {output.fleet:q} --cost {output.cost:q} 2> {log:q}"
