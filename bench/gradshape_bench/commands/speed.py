"""``gradshape speed``: the page about the results of the speed suite."""

import argparse
from pathlib import Path

from gradshape_bench.commands.command import Command, Parser
from gradshape_bench.commands.output_argument import add_output, output
from gradshape_bench.commands.results_argument import add_results, existing
from gradshape_bench.speed import page, results

_RESULTS = Path("results", "speed.json")


def _add_arguments(parser: Parser) -> None:
    add_results(parser, _RESULTS)
    add_output(parser, "FILE", default="the results file's name with .md")


def _run(options: argparse.Namespace) -> int:
    path = output(options, options.results.with_suffix(".md"))
    page.write(results.load(existing(options.results)), path)
    print(path)
    return 0


COMMAND = Command("Write the page about speed as Markdown and print its path.", _add_arguments, _run)
