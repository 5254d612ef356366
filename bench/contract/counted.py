"""Prints the operations of which fewer examples were answered than wanted, a line each: the generator gives up early now and
then, and says nothing of it.

    counted.py DESCRIPTION NUMBERS WANTED
"""

import collections
import json
import sys

METHODS = {"get", "put", "post", "delete", "patch"}


def too_few(description, answered, wanted):
    """One example is all there is of an operation that takes nothing."""
    for path, item in description["paths"].items():
        for method in METHODS & item.keys():
            label = f"{method.upper()} {path}"
            takes = item[method].get("parameters") or item[method].get("requestBody")
            if answered[label] < (wanted if takes else 1):
                yield label


def main(description_file, numbers_file, wanted):
    answered = collections.Counter()
    with open(numbers_file, encoding="utf-8") as file:
        for line in file:
            answered.update(json.loads(line))
    with open(description_file, encoding="utf-8") as file:
        few = sorted(too_few(json.load(file), answered, int(wanted)))
    print(f"{answered.total()} examples of {len(answered)} operations were answered.", file=sys.stderr)
    print("\n".join(few))


if __name__ == "__main__":
    main(*sys.argv[1:])
