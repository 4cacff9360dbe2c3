"""Compares the verdicts in kosoku's index.json with the expected ones, case by case.

    compare.py EXPECTED INDEX

A line of EXPECTED is a case, its `behavior` and its `behaviorClose`. Nothing is forgiven: another
verdict, a case too many and a case too few are each listed, and the exit status is 1.
"""

import json
import sys


def expected_verdicts(path):
    verdicts = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            case, behavior, close = line.split()
            if case in verdicts:
                sys.exit(f"{path} lists case {case} twice")
            verdicts[case] = (behavior, close)
    return verdicts


def reported_verdicts(path):
    try:
        with open(path, encoding="utf-8") as file:
            agents = json.load(file)
    except FileNotFoundError:
        sys.exit(f"{path} does not exist: kosoku wrote no report")
    if len(agents) != 1:
        sys.exit(f"{path} should report on one agent, but has {sorted(agents)}")
    (cases,) = agents.values()
    return {case: (verdict["behavior"], verdict["behaviorClose"]) for case, verdict in cases.items()}


def by_number(case):
    return [int(part) for part in case.split(".")]


def main():
    _, expected_path, index_path = sys.argv
    expected = expected_verdicts(expected_path)
    reported = reported_verdicts(index_path)
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
    if differing:
        print(f"{len(differing)} of {len(expected)} cases differ from {expected_path}")
        sys.exit(1)
    print(f"{len(expected)} cases as in {expected_path}")


main()
