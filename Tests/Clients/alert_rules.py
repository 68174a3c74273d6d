"""The rules of alerts/, as far as tests compare them with something else."""

import math
import re
from dataclasses import dataclass

from kinglet import REPOSITORY

RULE_FILES = sorted((REPOSITORY / "alerts").glob("*.rules.yml"))


@dataclass(frozen=True)
class Rule:
    """An alert, or, without a severity, a recorded expression."""

    name: str
    expression: str
    severity: str | None

    @property
    def comparisons(self):
        """Whether what is above (>) or below (<) a number is bad, and the number, as dashboards
        have it: what is 0 or 1, and a count that ought to be 0, has its limit at 1."""
        found = []
        for operator, factors in re.findall(
            r"([<>]|==)=? *(-?[\d.e]+(?: \* [\d.e]+)*)", self.expression
        ):
            number = math.prod(map(float, factors.split(" * ")))
            if number == 0 and operator != "<":
                operator, number = ">" if operator == ">" else "<", 1.0
            found.append((operator, number))
        return found


def rules():
    found = []
    for file in RULE_FILES:
        for text in re.split(r"(?m)^ +- (?=alert:|record:)", file.read_text())[1:]:
            folded = re.search(r"(?m)^( +)expr: (?:>-\n((?:\1  .*\n)+)|(.+)\n)", text)
            severity = re.search(r"(?m)^ +severity: (\w+)$", text)
            found.append(Rule(
                name=re.match(r"\w+: (\S+)", text)[1],
                expression=" ".join((folded[2] or folded[3]).split()),
                severity=severity and severity[1]))
    return found
