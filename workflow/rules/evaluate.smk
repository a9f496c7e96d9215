# REQUIRED INPUTS: data/split.csv, fleets/
# OUTPUTS:
#   evaluation/<method>/original-<number>.json   the row of the scores
#   evaluation/<method>/original-<number>.npz    confidences and epsilons of the forget examples
#   scores.csv                                   all rows
#   comparisons.csv                              paired differences between methods
#   simulation.csv                               what the metric gives for known distributions


rule evaluate:
    """Judge a fleet against the oracle by the competition's score, with 95 % intervals."""
    input:
        unlearned=lambda wildcards: plan.fleet(
            plan.role(wildcards.method, wildcards.original)
        ),
        oracle=plan.fleet("oracle"),
        split_table=rules.prepare_data.output.split_table,
        code=stage_code("evaluate"),
    output:
        row=plan.path("evaluation/{method}/original-{original}.json"),
        examples=plan.path("evaluation/{method}/original-{original}.npz"),
    log:
        plan.path("logs/{method}/original-{original}/evaluate.log"),
    benchmark:
        plan.path("benchmarks/{method}/original-{original}/evaluate.tsv")
    conda:
        "../../environment.yml"
    params:
        settings=plan.settings(
            seed=experiment.seed,
            replicates=experiment.replicates,
            models=experiment.models,
        ),
    message:
        "Evaluating {wildcards.method}"
    shell:
        "python -m random_mask.stages.evaluate --settings {params.settings:q} "
        "--method {wildcards.method} --original {wildcards.original} "
        "--unlearned {input.unlearned:q} --oracle {input.oracle:q} --split-table {input.split_table:q} "
        "--row {output.row:q} --examples {output.examples:q} 2> {log:q}"


rule scores:
    """Collect the rows of all methods."""
    input:
        rows=plan.evaluations("json"),
        costs=plan.all_fleets("json"),
        code=stage_code("scores"),
    output:
        plan.path("scores.csv"),
    log:
        plan.path("logs/scores.log"),
    benchmark:
        plan.path("benchmarks/scores.tsv")
    conda:
        "../../environment.yml"
    message:
        "Collecting the scores"
    shell:
        "python -m random_mask.stages.scores --rows {input.rows:q} --costs {input.costs:q} "
        "--output {output:q} 2> {log:q}"


rule compare:
    """Compare methods in pairs, on the same oracle models and forget examples."""
    input:
        evaluations=plan.evaluations("npz"),
        code=stage_code("compare"),
    output:
        plan.path("comparisons.csv"),
    log:
        plan.path("logs/compare.log"),
    benchmark:
        plan.path("benchmarks/compare.tsv")
    conda:
        "../../environment.yml"
    params:
        settings=plan.settings(
            seed=experiment.seed,
            replicates=experiment.replicates,
            pairs=experiment.pairs(),
            originals=experiment.originals,
        ),
    message:
        "Comparing methods in pairs"
    shell:
        "python -m random_mask.stages.compare --settings {params.settings:q} "
        "--evaluations {input.evaluations:q} --output {output:q} 2> {log:q}"


rule simulate:
    """Compute the forgetting quality of known distributions: what the metric can and cannot see."""
    input:
        code=stage_code("simulate"),
        lock="requirements.txt",
    output:
        plan.path("simulation.csv"),
    log:
        plan.path("logs/simulate.log"),
    benchmark:
        plan.path("benchmarks/simulate.tsv")
    conda:
        "../../environment.yml"
    params:
        settings=plan.settings(seed=experiment.seed, examples=400),
    message:
        "Simulating the metric on known distributions"
    shell:
        "python -m random_mask.stages.simulate --settings {params.settings:q} --output {output:q} 2> {log:q}"
