# REQUIRED INPUTS: data/split.csv, fleets/
# OUTPUTS:
#   evaluation/<method>/original-<number>.json   the row of the scores
#   evaluation/<method>/original-<number>.npz    confidences and epsilons of the forget examples
#   measures/<method>/original-<number>.json     the other measures, with their intervals
#   scores.csv                                   all rows
#   measures.csv                                 the other measures of all rows
#   comparisons.csv                              paired differences between methods
#   scores_by_n.csv                              scores of smaller fleets
#   examples.npz, masks.csv, costs.csv, run.json what figures and tables need of all fleets
#   chosen.yaml                                  of an experiment with a search: the hyper-parameters it chose


rule evaluate:
    """Judge a fleet against the oracle by the competition's score, with 95 % intervals."""
    input:
        unlearned=lambda wildcards: plan(wildcards).judged(
            wildcards.method, wildcards.original
        ),
        oracle=lambda wildcards: plan(wildcards).fleet("oracle"),
        split_table=rules.prepare_data.output.split_table,
        code=stage_code("evaluate"),
    output:
        row="results/{experiment}/evaluation/{method}/original-{original}.json",
        examples="results/{experiment}/evaluation/{method}/original-{original}.npz",
    log:
        "results/{experiment}/logs/{method}/original-{original}/evaluate.log",
    benchmark:
        "results/{experiment}/benchmarks/{method}/original-{original}/evaluate.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("evaluate"),
        runtime=minutes("evaluate"),
    params:
        settings=lambda wildcards: plan(wildcards).settings(
            "seed", "replicates", "models"
        ),
    message:
        "Evaluating {wildcards.method}"
    shell:
        "python -m random_mask.stages.evaluate --settings {params.settings:q} "
        "--method {wildcards.method} --original {wildcards.original} "
        "--unlearned {input.unlearned:q} --oracle {input.oracle:q} --split-table {input.split_table:q} "
        "--row {output.row:q} --examples {output.examples:q} 2> {log:q}"


rule measure:
    """Judge a fleet against the oracle by the other measures, with 95 % intervals."""
    input:
        unlearned=lambda wildcards: plan(wildcards).judged(
            wildcards.method, wildcards.original
        ),
        oracle=lambda wildcards: plan(wildcards).fleet("oracle"),
        split_table=rules.prepare_data.output.split_table,
        relearned=lambda wildcards: plan(wildcards).relearned(
            wildcards.method, wildcards.original
        ),
        start=lambda wildcards: plan(wildcards).relearned_from(wildcards.original),
        code=stage_code("measure"),
    output:
        "results/{experiment}/measures/{method}/original-{original}.json",
    log:
        "results/{experiment}/logs/{method}/original-{original}/measure.log",
    benchmark:
        "results/{experiment}/benchmarks/{method}/original-{original}/measure.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("measure"),
        runtime=minutes("measure"),
    params:
        settings=lambda wildcards: plan(wildcards).settings(
            "seed", "replicates", "models"
        ),
    message:
        "Measuring {wildcards.method}"
    shell:
        "python -m random_mask.stages.measure --settings {params.settings:q} "
        "--method {wildcards.method} --original {wildcards.original} "
        "--unlearned {input.unlearned:q} --oracle {input.oracle:q} --split-table {input.split_table:q} "
        "--relearned {input.relearned:q} --start {input.start:q} --output {output:q} 2> {log:q}"


rule compare:
    """Compare two methods, on the same oracle models and forget examples."""
    input:
        of_a=lambda wildcards: plan(wildcards).compared(wildcards.a, wildcards.b),
        of_b=lambda wildcards: plan(wildcards).compared(wildcards.b, wildcards.a),
        code=stage_code("compare"),
    output:
        "results/{experiment}/comparisons/{a}-against-{b}/differences.csv",
    log:
        "results/{experiment}/logs/comparisons/{a}-against-{b}.log",
    benchmark:
        "results/{experiment}/benchmarks/comparisons/{a}-against-{b}.tsv"
    wildcard_constraints:
        a=r"[a-z0-9_.]+",
        b=r"[a-z0-9_.]+",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("compare"),
        runtime=minutes("compare"),
    params:
        settings=lambda wildcards: plan(wildcards).settings("seed", "replicates"),
    message:
        "Comparing {wildcards.a} with {wildcards.b}"
    shell:
        "python -m random_mask.stages.compare --settings {params.settings:q} "
        "--a {wildcards.a} --b {wildcards.b} --of-a {input.of_a:q} --of-b {input.of_b:q} "
        "--output {output:q} 2> {log:q}"


rule scores_by_n:
    """Estimate the score of smaller fleets: how it depends on the number of models."""
    input:
        evaluation="results/{experiment}/evaluation/{method}/original-0.npz",
        code=stage_code("scores_by_n"),
    output:
        "results/{experiment}/by_n/{method}/scores.csv",
    log:
        "results/{experiment}/logs/by_n/{method}.log",
    benchmark:
        "results/{experiment}/benchmarks/by_n/{method}.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("scores_by_n"),
        runtime=minutes("scores_by_n"),
    params:
        settings=lambda wildcards: plan(wildcards).settings("seed", "replicates"),
    message:
        "Estimating the score of {wildcards.method} with fewer models"
    shell:
        "python -m random_mask.stages.scores_by_n --settings {params.settings:q} "
        "--method {wildcards.method} --evaluation {input.evaluation:q} --output {output:q} 2> {log:q}"


rule scores:
    """Collect the rows of all methods."""
    input:
        rows=lambda wildcards: plan(wildcards).evaluations("json"),
        costs=lambda wildcards: plan(wildcards).all_fleets("json"),
        speed="reference/speed.json",
        differences=lambda wildcards: plan(wildcards).comparisons,
        sizes=lambda wildcards: plan(wildcards).by_n,
        measured=lambda wildcards: plan(wildcards).measures,
        code=stage_code("scores"),
    output:
        scores="results/{experiment}/scores.csv",
        comparisons="results/{experiment}/comparisons.csv",
        by_n="results/{experiment}/scores_by_n.csv",
        measures="results/{experiment}/measures.csv",
    log:
        "results/{experiment}/logs/scores.log",
    benchmark:
        "results/{experiment}/benchmarks/scores.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("scores"),
        runtime=minutes("scores"),
    params:
        # Snakemake compares inputs without their order, which is that of the rows.
        order=lambda wildcards: " ".join(
            plan(wildcards).evaluations("json") + plan(wildcards).comparisons
        ),
    message:
        "Collecting the scores"
    shell:
        "python -m random_mask.stages.scores --rows {input.rows:q} --costs {input.costs:q} --speed {input.speed:q} "
        "--differences {input.differences:q} --sizes {input.sizes:q} --measured {input.measured:q} "
        "--output {output.scores:q} --comparisons {output.comparisons:q} --by-n {output.by_n:q} "
        "--measures {output.measures:q} 2> {log:q}"


rule collect:
    """Collect what figures and tables need of all fleets into a few small files."""
    input:
        evaluations=lambda wildcards: plan(wildcards).evaluations("npz"),
        masks=lambda wildcards: plan(wildcards).mask_tables(),
        costs=lambda wildcards: plan(wildcards).all_fleets("json"),
        speed="reference/speed.json",
        code=stage_code("collect"),
        lock="requirements.txt",
    output:
        examples="results/{experiment}/examples.npz",
        mask_counts="results/{experiment}/masks.csv",
        costs="results/{experiment}/costs.csv",
        run_file="results/{experiment}/run.json",
    log:
        "results/{experiment}/logs/collect.log",
    benchmark:
        "results/{experiment}/benchmarks/collect.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("collect"),
        runtime=minutes("collect"),
    params:
        order=lambda wildcards: " ".join(plan(wildcards).all_fleets("json")),
    message:
        "Collecting what figures and tables need"
    shell:
        "python -m random_mask.stages.collect --evaluations {input.evaluations:q} --masks {input.masks:q} "
        "--costs {input.costs:q} --speed {input.speed:q} --examples {output.examples:q} "
        "--mask-counts {output.mask_counts:q} --costs-table {output.costs:q} --run-file {output.run_file:q} 2> {log:q}"


rule condense:
    """Condense a retrained fleet into what judging needs of it, to be kept."""
    input:
        fleet=lambda wildcards: plan(wildcards).fleet(wildcards.fleet),
        costs=lambda wildcards: plan(wildcards).fleet(wildcards.fleet, "json"),
        split_table=rules.prepare_data.output.split_table,
        code=stage_code("condense"),
    output:
        fleet="results/{experiment}/retrained/{fleet}/models.npz",
        cost="results/{experiment}/retrained/{fleet}/models.json",
    log:
        "results/{experiment}/logs/condense/{fleet}.log",
    benchmark:
        "results/{experiment}/benchmarks/condense/{fleet}.tsv"
    wildcard_constraints:
        fleet="oracle|retrain",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("condense"),
        runtime=minutes("condense"),
    message:
        "Condensing the {wildcards.fleet} fleet"
    shell:
        "python -m random_mask.stages.condense --fleet {input.fleet:q} --costs {input.costs:q} "
        "--split-table {input.split_table:q} --output {output.fleet:q} --cost {output.cost:q} 2> {log:q}"


rule choose:
    """Choose the hyper-parameters of each method that is tuned: those of its best trial."""
    input:
        scores=lambda wildcards: plan(wildcards, needs="search").path("scores.csv"),
        code=stage_code("choose"),
    output:
        "results/{experiment}/chosen.yaml",
    log:
        "results/{experiment}/logs/choose.log",
    benchmark:
        "results/{experiment}/benchmarks/choose.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("choose"),
        runtime=minutes("choose"),
    params:
        settings=whole,
    message:
        "Choosing hyper-parameters"
    shell:
        "python -m random_mask.stages.choose --settings {params.settings:q} --scores {input.scores:q} "
        "--output {output:q} 2> {log:q}"
