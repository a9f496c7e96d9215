# Checks the configuration and plans the files; every rule uses `experiment`, `plan` and `stage_code`.
from random_mask.config import validate
from random_mask.errors import InputError
from random_mask.plan import Plan, paper_sources
from random_mask.sources import stage_code

try:
    experiment = validate(
        config,
        source=", ".join(
            map(str, workflow.overwrite_configfiles or workflow.configfiles)
        ),
    )
except InputError as error:
    sys.exit(str(error))

plan = Plan(experiment)


wildcard_constraints:
    first=r"\d{4}",
    last=r"\d{4}",
    original=r"\d+",
    method=r"[a-z0-9_.]+",
