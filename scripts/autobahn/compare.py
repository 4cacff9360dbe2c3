"""Compares the verdicts in a suite's index.json with the expected ones, case by case.

    compare.py EXPECTED INDEX [LEFT_OUT...]

A line of EXPECTED is a case, its `behavior` and its `behaviorClose`; LEFT_OUT are patterns of cases
that were not run. Nothing is forgiven: another verdict, a case too many and a case too few are each
listed, and the exit status is 1.
"""

import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path


def expected_verdicts(path, left_out):
    verdicts = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            case, behavior, close = line.split()
            if case in verdicts:
                sys.exit(f"{path} lists case {case} twice")
            if not any(fnmatchcase(case, pattern) for pattern in left_out):
                verdicts[case] = (behavior, close)
    return verdicts


def reported_cases(path):
    try:
        agents = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        sys.exit(f"{path} does not exist: the suite wrote no report")
    if len(agents) != 1:
        sys.exit(f"{path} should report on one agent, but has {sorted(agents)}")
    (cases,) = agents.values()
    return cases


def by_number(case):
    return [int(part) for part in case.split(".")]


def told(folder, report):
    """What the suite says of a case."""
    try:
        case = json.loads((folder / report).read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return f"no report {report}"
    return f"{case['result']} {case['resultClose']}"


def main():
    expected_path, index = sys.argv[1], Path(sys.argv[2])
    expected = expected_verdicts(expected_path, sys.argv[3:])
    cases = reported_cases(index)
    reported = {case: (verdict["behavior"], verdict["behaviorClose"]) for case, verdict in cases.items()}
    differing = [
        case
        for case in sorted(expected.keys() | reported.keys(), key=by_number)
        if expected.get(case) != reported.get(case)
    ]
    for case in differing:
        wanted, got = (
            " / ".join(verdicts[case]) if case in verdicts else "no verdict"
            for verdicts in (expected, reported)
        )
        print(f"  {case}: expected {wanted}, got {got}")
        if case in cases:
            print(f"    {told(index.parent, cases[case]['reportfile'])}")
    if differing:
        print(f"{len(differing)} of {len(expected)} cases differ from {expected_path}")
        sys.exit(1)
    print(f"{len(expected)} cases as in {expected_path}")


main()
