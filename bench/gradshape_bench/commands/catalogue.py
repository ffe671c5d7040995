"""The list of all commands: their names, what they do in half a line, and where they are."""

from dataclasses import dataclass
from enum import Enum
from importlib import import_module

from gradshape import _validate
from gradshape_bench.commands.command import Command


class Topic(Enum):
    """What commands are about; the value is how the help says it."""

    RESULTS = "look at results"
    PAGES = "make pages and figures"
    RUNS = "run, tidy and prepare"


@dataclass(frozen=True)
class Entry:
    """A command in the list.

    Attributes:
        name: what it is called by.
        place: module below ``gradshape_bench`` and name of its :class:`Command` in it, with a colon between.
        topic: what it is about.
        purpose: what it does, as an order and in half a line.
    """

    name: str
    place: str
    topic: Topic
    purpose: str

    def load(self) -> Command:
        """Import the command. Not before it is used: together they import all of the harness."""
        module, _, name = self.place.partition(":")
        command: Command = getattr(import_module(f"gradshape_bench.{module}"), name)
        return command


ENTRIES = (
    Entry("list", "commands.listing:COMMAND", Topic.RESULTS, "list cases, one line each"),
    Entry("show", "commands.show:COMMAND", Topic.RESULTS, "show everything that is recorded of a case"),
    Entry("diff", "commands.diff:COMMAND", Topic.RESULTS, "list the cases and numbers in which two files differ"),
    Entry("compare", "commands.gate:COMPARE", Topic.RESULTS, "tell whether a run is worse than an earlier one"),
    Entry("baseline", "commands.gate:BASELINE", Topic.RESULTS, "freeze results, to compare later runs with"),
    Entry("flakiness", "commands.flakiness:COMMAND", Topic.RESULTS, "say which verdicts other seeds would turn"),
    Entry("report", "commands.report:COMMAND", Topic.PAGES, "write all pages beside the results, as a run does"),
    Entry("leaderboard", "commands.pages:LEADERBOARD_PAGE", Topic.PAGES, "write the leaderboard"),
    Entry("html", "commands.html:COMMAND", Topic.PAGES, "write the leaderboard to browse, as one HTML page"),
    Entry("privacy", "commands.pages:PRIVACY_PAGE", Topic.PAGES, "write what privacy costs on clean data"),
    Entry("ledger", "commands.pages:LEDGER_PAGE", Topic.PAGES, "write the paper's numbers beside ours"),
    Entry("speed", "commands.speed:COMMAND", Topic.PAGES, "write the page about speed"),
    Entry("figures", "commands.figures:COMMAND", Topic.PAGES, "draw the results as PNG and SVG"),
    Entry("publish", "commands.publish:COMMAND", Topic.PAGES, "take complete runs into the tracked reports"),
    Entry("rerun", "commands.rerun:COMMAND", Topic.RUNS, "run exactly one case again"),
    Entry("clean", "commands.clean:COMMAND", Topic.RUNS, "take off what is gone, failed or damaged"),
    Entry("merge", "commands.merge:COMMAND", Topic.RUNS, "join the results of the shards of a run"),
    Entry("targets", "commands.targets:COMMAND", Topic.RUNS, "draw a list of test rows to attack"),
)


def find(name: str) -> Entry:
    """Return the command of that name.

    Raises:
        ValueError: there is none; near matches are listed.
    """
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    raise _validate.unknown("command", name, [entry.name for entry in ENTRIES])
