# REQUIRED INPUTS, of each experiment: scores.csv, comparisons.csv, scores_by_n.csv, examples.npz, masks.csv, costs.csv, run.json,
#   measures.csv, in results/<experiment>/ or, as the authors had them, in reference/<experiment>/; paper/
# OUTPUTS, in results/<experiment>/:
#   claims.csv       what the run says of each claim in paper/claims.yaml
#   figures/*.pdf    the figures; .png: the same for the browser
#   tables/*.csv     the tables; .tex and .html: the same for LaTeX and the browser
#   report.html      all of these in one page for the browser, with the forget images
#   provenance.json  where each file of a run comes from: settings, hashes, machine, versions, time and memory
# OUTPUTS, in results/:
#   paper/figures/*.pdf, paper/tables/*.tex, paper/numbers.tex, paper/claims.csv, paper/simulation.csv
#   paper.pdf        the paper


rule claims:
    """Judge the claims of the paper by an experiment."""
    input:
        claims="paper/claims.yaml",
        scores=rules.scores.output.scores,
        comparisons=rules.scores.output.comparisons,
        measures=rules.scores.output.measures,
        examples=rules.collect.output.examples,
        code=stage_code("claims"),
    output:
        "results/{experiment}/claims.csv",
    log:
        "results/{experiment}/logs/claims.log",
    benchmark:
        "results/{experiment}/benchmarks/claims.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("claims"),
        runtime=minutes("claims"),
    params:
        settings=lambda wildcards: plan(wildcards).settings(
            "experiment", tuned=plan(wildcards).experiment.tuned_methods()
        ),
    message:
        "Judging the claims by {wildcards.experiment}"
    shell:
        "python -m random_mask.stages.claims --settings {params.settings:q} --claims {input.claims:q} "
        "--scores {input.scores:q} --comparisons {input.comparisons:q} --measures {input.measures:q} --examples {input.examples:q} "
        "--output {output:q} 2> {log:q}"


rule figures:
    """Draw the figures of an experiment."""
    input:
        scores=rules.scores.output.scores,
        comparisons=rules.scores.output.comparisons,
        by_n=rules.scores.output.by_n,
        measures=rules.scores.output.measures,
        examples=rules.collect.output.examples,
        code=stage_code("figures"),
    output:
        pdf=[f"results/{{experiment}}/figures/{name}.pdf" for name in FIGURES],
        png=[f"results/{{experiment}}/figures/{name}.png" for name in FIGURES],
    log:
        "results/{experiment}/logs/figures.log",
    benchmark:
        "results/{experiment}/benchmarks/figures.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("figures"),
        runtime=minutes("figures"),
    params:
        settings=whole,
    message:
        "Drawing the figures of {wildcards.experiment}"
    shell:
        "python -m random_mask.stages.figures --settings {params.settings:q} --scores {input.scores:q} "
        "--comparisons {input.comparisons:q} --by-n {input.by_n:q} --measures {input.measures:q} "
        "--examples {input.examples:q} --output {output:q} 2> {log:q}"


rule tables:
    """Write the tables of an experiment."""
    input:
        scores=rules.scores.output.scores,
        comparisons=rules.scores.output.comparisons,
        measures=rules.scores.output.measures,
        masks=rules.collect.output.mask_counts,
        costs=rules.collect.output.costs,
        claims=rules.claims.output,
        code=stage_code("tables"),
    output:
        [
            f"results/{{experiment}}/tables/{name}.{kind}"
            for name in TABLES
            for kind in ("csv", "html", "tex")
        ],
    log:
        "results/{experiment}/logs/tables.log",
    benchmark:
        "results/{experiment}/benchmarks/tables.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("tables"),
        runtime=minutes("tables"),
    params:
        settings=whole,
    message:
        "Writing the tables of {wildcards.experiment}"
    shell:
        "python -m random_mask.stages.tables --settings {params.settings:q} --scores {input.scores:q} "
        "--comparisons {input.comparisons:q} --measures {input.measures:q} --masks {input.masks:q} "
        "--costs {input.costs:q} --claims {input.claims:q} --output {output:q} 2> {log:q}"


rule page:
    """Write all of an experiment in one page for the browser."""
    input:
        scores=rules.scores.output.scores,
        comparisons=rules.scores.output.comparisons,
        claims=rules.claims.output,
        costs=rules.collect.output.costs,
        run_file=rules.collect.output.run_file,
        examples=rules.collect.output.examples,
        images=rules.prepare_data.output.images,
        split_table=rules.prepare_data.output.split_table,
        figures=rules.figures.output.png,
        template="src/random_mask/report/page.html",
        code=stage_code("page"),
    output:
        "results/{experiment}/report.html",
    log:
        "results/{experiment}/logs/page.log",
    benchmark:
        "results/{experiment}/benchmarks/page.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("page"),
        runtime=minutes("page"),
    params:
        settings=whole,
    message:
        "Writing the page of {wildcards.experiment}"
    shell:
        "python -m random_mask.stages.page --settings {params.settings:q} --template {input.template:q} --scores {input.scores:q} "
        "--comparisons {input.comparisons:q} --claims {input.claims:q} --costs {input.costs:q} "
        "--run-file {input.run_file:q} --examples {input.examples:q} --images {input.images:q} "
        "--split-table {input.split_table:q} --figures {input.figures:q} --output {output:q} 2> {log:q}"


rule provenance:
    """Collect where every file of an experiment comes from, and what it took."""
    input:
        artifacts=lambda wildcards: [
            rules.scores.output.scores,
            rules.claims.output[0],
            rules.page.output[0],
            rules.tables.output[0],
            *plan(wildcards).chosen,
            *plan(wildcards).condensed,
        ],
        code=stage_code("provenance"),
    output:
        "results/{experiment}/provenance.json",
    log:
        "results/{experiment}/logs/provenance.log",
    benchmark:
        "results/{experiment}/benchmarks/provenance.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("provenance"),
        runtime=minutes("provenance"),
    params:
        settings=lambda wildcards: plan(wildcards).settings(
            experiment=plan(wildcards).experiment
        ),
    message:
        "Collecting where everything of {wildcards.experiment} comes from"
    shell:
        "python -m random_mask.stages.provenance --settings {params.settings:q} "
        "--artifacts {input.artifacts:q} --output {output:q} 2> {log:q}"


rule simulate:
    """Compute the forgetting quality of known distributions: what the metric can and cannot see."""
    input:
        code=stage_code("simulate"),
        lock="requirements.txt",
    output:
        "results/paper/simulation.csv",
    log:
        "results/paper/logs/simulate.log",
    benchmark:
        "results/paper/benchmarks/simulate.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("simulate"),
        runtime=minutes("simulate"),
    params:
        settings=as_settings({"seed": 2023, "examples": 400}),
    message:
        "Simulating the metric on known distributions"
    shell:
        "python -m random_mask.stages.simulate --settings {params.settings:q} --output {output:q} 2> {log:q}"


rule paper_figures:
    """Draw the figures of the paper."""
    input:
        results=reported(lambda: paper.results),
        code=stage_code("paper_figures"),
    output:
        [f"results/paper/figures/{name}.pdf" for name in PAPER_FIGURES],
    log:
        "results/paper/logs/figures.log",
    benchmark:
        "results/paper/benchmarks/figures.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("paper_figures"),
        runtime=minutes("paper_figures"),
    params:
        settings=reported(lambda: paper.settings(library)),
    message:
        "Drawing the figures of the paper"
    shell:
        "python -m random_mask.stages.paper_figures --settings {params.settings:q} "
        "--results {input.results:q} --output {output:q} 2> {log:q}"


rule paper_tables:
    """Write the tables of the paper and the numbers of its text."""
    input:
        results=reported(lambda: paper.results),
        claims="paper/claims.yaml",
        tuned=reported(lambda: paper.chosen(library)),
        citation="CITATION.cff",
        simulation=rules.simulate.output,
        reference=reported(lambda: paper.authors),
        code=stage_code("paper_tables"),
    output:
        numbers="results/paper/numbers.tex",
        tables=[f"results/paper/tables/{name}.tex" for name in PAPER_TABLES],
        verdicts="results/paper/claims.csv",
    log:
        "results/paper/logs/tables.log",
    benchmark:
        "results/paper/benchmarks/tables.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("paper_tables"),
        runtime=minutes("paper_tables"),
    params:
        settings=reported(lambda: paper.settings(library)),
    message:
        "Writing the tables and numbers of the paper"
    shell:
        "python -m random_mask.stages.paper_tables --settings {params.settings:q} "
        "--results {input.results:q} --claims {input.claims:q} --tuned {input.tuned:q} "
        "--citation {input.citation:q} --simulation {input.simulation:q} --reference {input.reference:q} "
        "--numbers-file {output.numbers:q} --tabulars {output.tables:q} --verdicts {output.verdicts:q} 2> {log:q}"


rule paper:
    """Set the paper."""
    input:
        sources=paper_sources(),
        figures=rules.paper_figures.output,
        tables=rules.paper_tables.output.tables,
        numbers=rules.paper_tables.output.numbers,
        code=stage_code("paper"),
    output:
        pdf="results/paper.pdf",
        deviations="results/paper/deviations.txt",
    log:
        "results/paper/logs/paper.log",
    benchmark:
        "results/paper/benchmarks/paper.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory("paper"),
        runtime=minutes("paper"),
    message:
        "Setting the paper"
    shell:
        "python -m random_mask.stages.paper --sources {input.sources:q} --figures {input.figures:q} "
        "--tables {input.tables:q} --numbers {input.numbers:q} --output {output.pdf:q} --deviations {output.deviations:q} 2> {log:q}"
