# REQUIRED INPUTS: scores.csv, comparisons.csv, scores_by_n.csv, examples.npz, masks.csv, costs.csv, run.json,
#   measures.csv, simulation.csv, all in results/<experiment>/ or, as the authors had them, in
#   reference/<experiment>/; paper/
# OUTPUTS, in results/<experiment>/ or, of the authors' results, in results/<experiment>/reference/:
#   claims.csv      what the run says of each claim in paper/claims.yaml
#   figures/*.pdf   the figures; .png: the same for the HTML report
#   tables/*.tex    the tables; .html: those of the HTML report
#   numbers.tex     every number of the text, as macros
#   paper.pdf       the paper
#   provenance.json where each file of a run comes from: settings, hashes, machine, versions, time and memory


rule claims:
    """Judge the claims of the paper."""
    input:
        claims="paper/claims.yaml",
        scores=plan.source("scores.csv"),
        comparisons=plan.source("comparisons.csv"),
        measures=plan.source("measures.csv"),
        examples=plan.source("examples.npz"),
        code=stage_code("claims"),
    output:
        "{folder}/claims.csv",
    log:
        "{folder}/logs/claims.log",
    benchmark:
        "{folder}/benchmarks/claims.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("claims"),
        runtime=needs.minutes("claims"),
    params:
        settings=lambda wildcards: plan.settings(
            tuned=plan.reported(wildcards.folder).tuned_methods()
        ),
    message:
        "Judging the claims"
    shell:
        "python -m random_mask.stages.claims --settings {params.settings:q} --claims {input.claims:q} "
        "--scores {input.scores:q} --comparisons {input.comparisons:q} --measures {input.measures:q} --examples {input.examples:q} "
        "--output {output:q} 2> {log:q}"


rule figures:
    """Draw the figures."""
    input:
        scores=plan.source("scores.csv"),
        comparisons=plan.source("comparisons.csv"),
        by_n=plan.source("scores_by_n.csv"),
        measures=plan.source("measures.csv"),
        examples=plan.source("examples.npz"),
        code=stage_code("figures"),
    output:
        plan.figures,
        [
            report(
                path,
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"figure": name.replace("_", " ")},
            )
            for name, path in plan.browser_figures.items()
        ],
    log:
        "{folder}/logs/figures.log",
    benchmark:
        "{folder}/benchmarks/figures.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("figures"),
        runtime=needs.minutes("figures"),
    params:
        settings=lambda wildcards: plan.settings(
            experiment=plan.reported(wildcards.folder)
        ),
    message:
        "Drawing the figures"
    shell:
        "python -m random_mask.stages.figures --settings {params.settings:q} --scores {input.scores:q} "
        "--comparisons {input.comparisons:q} --by-n {input.by_n:q} --measures {input.measures:q} "
        "--examples {input.examples:q} --output {output:q} 2> {log:q}"


rule tables:
    """Write the tables and the numbers of the text."""
    input:
        scores=plan.source("scores.csv"),
        comparisons=plan.source("comparisons.csv"),
        measures=plan.source("measures.csv"),
        masks=plan.source("masks.csv"),
        costs=plan.source("costs.csv"),
        run_file=plan.source("run.json"),
        simulation=plan.source("simulation.csv"),
        claims="{folder}/claims.csv",
        tuned=lambda wildcards: plan.tuned(wildcards.folder),
        references=plan.reference_claims,
        reference=lambda wildcards: plan.reference_scores(wildcards.folder),
        code=stage_code("tables"),
    output:
        numbers="{folder}/numbers.tex",
        tables=plan.tables,
        pages=[
            report(
                path,
                caption=f"../report/{name}_table.rst",
                category="Tables",
                labels={"table": name},
            )
            for name, path in plan.pages.items()
        ],
    log:
        "{folder}/logs/tables.log",
    benchmark:
        "{folder}/benchmarks/tables.tsv"
    conda:
        "../../environment.yml"
    resources:
        mem_mb=needs.memory("tables"),
        runtime=needs.minutes("tables"),
    params:
        settings=lambda wildcards: plan.settings(
            experiment=plan.reported(wildcards.folder)
        ),
    message:
        "Writing tables and numbers"
    shell:
        "python -m random_mask.stages.tables --settings {params.settings:q} --scores {input.scores:q} "
        "--comparisons {input.comparisons:q} --measures {input.measures:q} --masks {input.masks:q} "
        "--costs {input.costs:q} --run-file {input.run_file:q} --simulation {input.simulation:q} "
        "--claims {input.claims:q} --tuned {input.tuned:q} --references {input.references:q} "
        "--reference {input.reference:q} "
        "--output {output.numbers:q} --tabulars {output.tables:q} --pages {output.pages:q} 2> {log:q}"


rule paper:
    """Set the paper."""
    input:
        sources=paper_sources(),
        figures=plan.figures,
        tables=plan.tables,
        numbers="{folder}/numbers.tex",
        code=stage_code("paper"),
    output:
        report(
            "{folder}/paper.pdf",
            caption="../report/paper.rst",
            category="Paper",
            labels={"file": "paper.pdf"},
        ),
    log:
        "{folder}/logs/paper.log",
    benchmark:
        "{folder}/benchmarks/paper.tsv"
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
        artifacts=[
            *[plan.path(name) for name in ("scores.csv", "claims.csv")],
            *plan.paper,
            *plan.chosen,
            *[
                path.format(folder=plan.results)
                for path in plan.browser_figures.values()
            ],
            *[path.format(folder=plan.results) for path in plan.pages.values()],
        ],
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
