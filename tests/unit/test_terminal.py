"""What is left of Snakemake's messages: records as it makes them, through the filter."""

import io
import logging

import pytest

from random_mask.workflow.progress import Share, Terminal, duration


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def run():
    """Return a logger with a handler like Snakemake's, the filter, what was printed, and the clock."""
    logger = logging.Logger("test")
    handler = logging.StreamHandler(printed := io.StringIO())
    handler.name = "DefaultStreamHandler"
    logger.addHandler(handler)
    clock = Clock()
    return logger, Terminal(logger, clock), printed, clock


def say(logger, event, message=None, **values):
    logger.info(message, extra={"event": event, **values})


def lines(printed):
    return [line.partition("  ")[2] for line in printed.getvalue().splitlines()]


def test_a_job_is_one_line(run):
    logger, terminal, printed, _ = run
    terminal.follow({1: Share(1.0)})
    logger.info("Select jobs to execute...")
    say(logger, "job_started", "Execute 1 jobs...", jobs=[1])
    say(logger, "job_info", "Rule: finetune, Jobid: 1", rule_name="finetune", rule_msg="Fine-tuning", jobid=1)
    say(logger, "job_finished", "Finished jobid: 1 (Rule: finetune)", job_id=1)
    assert lines(printed) == ["Fine-tuning"]
    assert terminal.rules == {"finetune"}


def test_errors_warnings_and_other_words_stay(run):
    logger, terminal, printed, _ = run
    terminal.follow({})
    logger.error("Error in rule finetune", extra={"event": "job_error"})
    logger.warning("disk is full")
    logger.info("Job 3 has been submitted with SLURM jobid 5")
    assert printed.getvalue().splitlines() == [
        "Error in rule finetune",
        "disk is full",
        "Job 3 has been submitted with SLURM jobid 5",
    ]


def test_nothing_is_filtered_before_a_run_begins(run):
    logger, _, printed, _ = run
    say(logger, "job_started", "Execute 1 jobs...", jobs=[1])
    assert printed.getvalue() == "Execute 1 jobs...\n"


def test_models_and_time_left_follow_from_the_work_done(run):
    logger, terminal, _, clock = run
    terminal.follow({1: Share(30.0, models=4), 2: Share(60.0, models=8), 3: Share(10.0)})
    clock.now += 60
    say(logger, "job_finished", job_id=1)
    # 30 of 100 took 60 s, so the other 70 take 140 s.
    assert terminal.progress(1, 4) == "1 of 4 steps (25%) done, 4 of 12 models trained, about 2 min left"
    say(logger, "job_finished", job_id=2)
    say(logger, "job_finished", job_id=3)
    # What remains is the target, which is no job.
    assert terminal.progress(3, 4) == "3 of 4 steps (75%) done, 12 of 12 models trained"


def test_no_time_is_left_when_all_work_is_done_in_whatever_order_it_is_added_up(run):
    logger, terminal, _, clock = run
    terminal.follow({number: Share(0.1 * number) for number in range(100, 0, -1)})
    clock.now += 1
    for number in range(1, 101):
        say(logger, "job_finished", job_id=number)
    assert terminal.progress(100, 100) == "100 of 100 steps (100%) done"


def test_of_little_work_nothing_is_concluded(run):
    logger, terminal, _, clock = run
    terminal.follow({1: Share(1.0), 2: Share(99.0)})
    clock.now += 1
    say(logger, "job_finished", job_id=1)
    assert terminal.progress(1, 2) == "1 of 2 steps (50%) done"


def test_progress_is_not_said_after_every_step_and_is_said_at_the_end(run):
    logger, terminal, printed, _ = run
    terminal.follow({})
    for done in range(1, 1001):
        say(logger, "progress", done=done, total=1000)
    assert 15 <= len(lines(printed)) <= 21
    assert lines(printed)[-1] == "1000 of 1000 steps (100%) done"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations_have_the_unit_in_which_they_are_read(seconds, text):
    assert duration(seconds) == text
