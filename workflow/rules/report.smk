# REQUIRED INPUTS: scores.csv, measures.csv, comparisons.csv, evaluation/, masks/, fleets/ (costs), paper/
# OUTPUTS:
#   figures/*.pdf   the figures
#   tables/*.tex    the tables
#   numbers.tex     every number of the text, as macros
#   paper.pdf       the paper
#   provenance.json where each file comes from: settings, hashes, machine, versions, time and memory


rule figures:
    """Draw the figures."""
    input:
        scores=plan.path("scores.csv"),
        by_n=plan.path("scores_by_n.csv"),
        measures=plan.path("measures.csv"),
        evaluations=plan.evaluations("npz"),
        code=stage_code("figures"),
    output:
        plan.figures,
    log:
        plan.path("logs/figures.log"),
    benchmark:
        plan.path("benchmarks/figures.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("figures"),
        runtime=needs.minutes("figures"),
    params:
        settings=plan.settings(
            methods=experiment.shown(), ratios=experiment.ratio_series()
        ),
    message:
        "Drawing the figures"
    shell:
        "python -m random_mask.stages.figures --settings {params.settings:q} --scores {input.scores:q} "
        "--by-n {input.by_n:q} --measures {input.measures:q} --evaluations {input.evaluations:q} --output {output:q} 2> {log:q}"


rule tables:
    """Write the tables and the numbers of the text."""
    input:
        scores=plan.path("scores.csv"),
        comparisons=plan.path("comparisons.csv"),
        measures=plan.path("measures.csv"),
        masks=plan.mask_tables(),
        simulation=plan.path("simulation.csv"),
        costs=plan.all_fleets("json"),
        speed="reference/speed.json",
        code=stage_code("tables"),
        lock="requirements.txt",
    output:
        numbers=plan.path("numbers.tex"),
        tables=plan.tables,
    log:
        plan.path("logs/tables.log"),
    benchmark:
        plan.path("benchmarks/tables.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("tables"),
        runtime=needs.minutes("tables"),
    params:
        settings=plan.settings(experiment=experiment),
    message:
        "Writing tables and numbers"
    shell:
        "python -m random_mask.stages.tables --settings {params.settings:q} --scores {input.scores:q} "
        "--comparisons {input.comparisons:q} --measures {input.measures:q} --masks {input.masks:q} "
        "--simulation {input.simulation:q} --costs {input.costs:q} --speed {input.speed:q} "
        "--output {output.numbers:q} --tabulars {output.tables:q} 2> {log:q}"


rule paper:
    """Set the paper."""
    input:
        sources=paper_sources(),
        figures=plan.figures,
        tables=plan.tables,
        numbers=plan.path("numbers.tex"),
        code=stage_code("paper"),
    output:
        plan.path("paper.pdf"),
    log:
        plan.path("logs/paper.log"),
    benchmark:
        plan.path("benchmarks/paper.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("paper"),
        runtime=needs.minutes("paper"),
    message:
        "Setting the paper"
    shell:
        "python -m random_mask.stages.paper --sources {input.sources:q} --figures {input.figures:q} "
        "--tables {input.tables:q} --numbers {input.numbers:q} --output {output:q} 2> {log:q}"


rule provenance:
    """Collect where every file comes from, and what it took."""
    input:
        artifacts=[plan.path(name) for name in ("paper.pdf", "scores.csv")],
        code=stage_code("provenance"),
    output:
        plan.path("provenance.json"),
    log:
        plan.path("logs/provenance.log"),
    benchmark:
        plan.path("benchmarks/provenance.tsv")
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("provenance"),
        runtime=needs.minutes("provenance"),
    params:
        settings=plan.settings(experiment=experiment),
    message:
        "Collecting where everything comes from"
    shell:
        "python -m random_mask.stages.provenance --settings {params.settings:q} "
        "--artifacts {input.artifacts:q} --output {output:q} 2> {log:q}"
