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
    resources:
        mem_mb=needs.memory("evaluate"),
        runtime=needs.minutes("evaluate"),
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


rule measure:
    """Judge a fleet against the oracle by the other measures, with 95 % intervals."""
    input:
        unlearned=lambda wildcards: plan.fleet(
            plan.role(wildcards.method, wildcards.original)
        ),
        oracle=plan.fleet("oracle"),
        split_table=rules.prepare_data.output.split_table,
        relearned=lambda wildcards: [
            *plan.relearned(plan.role(wildcards.method, wildcards.original)),
            *plan.relearned("oracle"),
        ],
        start=lambda wildcards: (
            plan.fleet(f"original/{wildcards.original}") if experiment.relearn else []
        ),
        code=stage_code("measure"),
    output:
        plan.path("measures/{method}/original-{original}.json"),
    log:
        plan.path("logs/{method}/original-{original}/measure.log"),
    benchmark:
        plan.path("benchmarks/{method}/original-{original}/measure.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("measure"),
        runtime=needs.minutes("measure"),
    params:
        settings=plan.settings(
            seed=experiment.seed,
            replicates=experiment.replicates,
            models=experiment.models,
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
        of_a=lambda wildcards: plan.compared(wildcards.a, wildcards.b),
        of_b=lambda wildcards: plan.compared(wildcards.b, wildcards.a),
        code=stage_code("compare"),
    output:
        plan.path("comparisons/{a}-against-{b}.csv"),
    log:
        plan.path("logs/comparisons/{a}-against-{b}.log"),
    benchmark:
        plan.path("benchmarks/comparisons/{a}-against-{b}.tsv")
    wildcard_constraints:
        a=r"[a-z0-9_.]+",
        b=r"[a-z0-9_.]+",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("compare"),
        runtime=needs.minutes("compare"),
    params:
        settings=plan.settings(seed=experiment.seed, replicates=experiment.replicates),
    message:
        "Comparing {wildcards.a} with {wildcards.b}"
    shell:
        "python -m random_mask.stages.compare --settings {params.settings:q} "
        "--a {wildcards.a} --b {wildcards.b} --of-a {input.of_a:q} --of-b {input.of_b:q} "
        "--output {output:q} 2> {log:q}"


rule scores_by_n:
    """Estimate the score of smaller fleets: how it depends on the number of models."""
    input:
        evaluation=plan.path("evaluation/{method}/original-0.npz"),
        code=stage_code("scores_by_n"),
    output:
        plan.path("by_n/{method}.csv"),
    log:
        plan.path("logs/by_n/{method}.log"),
    benchmark:
        plan.path("benchmarks/by_n/{method}.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("scores_by_n"),
        runtime=needs.minutes("scores_by_n"),
    params:
        settings=plan.settings(seed=experiment.seed, replicates=experiment.replicates),
    message:
        "Estimating the score of {wildcards.method} with fewer models"
    shell:
        "python -m random_mask.stages.scores_by_n --settings {params.settings:q} "
        "--method {wildcards.method} --evaluation {input.evaluation:q} --output {output:q} 2> {log:q}"


rule scores:
    """Collect the rows of all methods."""
    input:
        rows=plan.evaluations("json"),
        costs=plan.all_fleets("json"),
        speed="reference/speed.json",
        differences=plan.comparisons,
        sizes=plan.by_n,
        measured=plan.measures,
        code=stage_code("scores"),
    output:
        scores=report(
            plan.path("scores.csv"),
            caption="../report/csv.rst",
            category="Data",
            labels={"file": "scores.csv"},
        ),
        comparisons=report(
            plan.path("comparisons.csv"),
            caption="../report/csv.rst",
            category="Data",
            labels={"file": "comparisons.csv"},
        ),
        by_n=plan.path("scores_by_n.csv"),
        measures=plan.path("measures.csv"),
    log:
        plan.path("logs/scores.log"),
    benchmark:
        plan.path("benchmarks/scores.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("scores"),
        runtime=needs.minutes("scores"),
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
        evaluations=plan.evaluations("npz"),
        masks=plan.mask_tables(),
        costs=plan.all_fleets("json"),
        speed="reference/speed.json",
        code=stage_code("collect"),
        lock="requirements.txt",
    output:
        examples=plan.path("examples.npz"),
        mask_shares=plan.path("masks.csv"),
        cost=plan.path("costs.csv"),
        run_file=plan.path("run.json"),
    log:
        plan.path("logs/collect.log"),
    benchmark:
        plan.path("benchmarks/collect.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("collect"),
        runtime=needs.minutes("collect"),
    message:
        "Collecting what figures and tables need"
    shell:
        "python -m random_mask.stages.collect --evaluations {input.evaluations:q} --masks {input.masks:q} "
        "--costs {input.costs:q} --speed {input.speed:q} --examples {output.examples:q} "
        "--mask-shares {output.mask_shares:q} --cost {output.cost:q} --run-file {output.run_file:q} 2> {log:q}"


rule choose:
    """Choose the hyper-parameters of each method that is tuned: those of its best trial."""
    input:
        scores=rules.scores.output.scores,
        code=stage_code("choose"),
    output:
        plan.path("chosen.yaml"),
    log:
        plan.path("logs/choose.log"),
    benchmark:
        plan.path("benchmarks/choose.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("choose"),
        runtime=needs.minutes("choose"),
    params:
        settings=plan.settings(experiment=experiment),
    message:
        "Choosing hyper-parameters"
    shell:
        "python -m random_mask.stages.choose --settings {params.settings:q} --scores {input.scores:q} "
        "--output {output:q} 2> {log:q}"


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
    resources:
        mem_mb=needs.memory("simulate"),
        runtime=needs.minutes("simulate"),
    params:
        settings=plan.settings(seed=experiment.seed, examples=400),
    message:
        "Simulating the metric on known distributions"
    shell:
        "python -m random_mask.stages.simulate --settings {params.settings:q} --output {output:q} 2> {log:q}"
