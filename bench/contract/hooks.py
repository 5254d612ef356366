"""What schemathesis has to know of Orderly: with which role an operation is asked. And how often each was, for counted.py."""

import atexit
import collections
import json
import os

import requests
import schemathesis

ROLES = {"patients": "patient", "ops": "ops", "analysts": "analyst", "auditors": "auditor"}
known = {}
answered = collections.Counter()


def token(role):
    """A token of the demo; asked for once."""
    if role not in known:
        asked = {"sub": f"contract-{role}", "role": role}
        answer = requests.post(os.environ["ORDERLY_URL"] + "/v1/demo/token", json=asked, timeout=30)
        answer.raise_for_status()
        known[role] = answer.json()["access_token"]
    return known[role]


@schemathesis.auth(refresh_interval=None)
class Tokens:
    """Each operation is asked with the role that its tag stands for, and public ones without a token."""

    def get(self, case, context):
        raw = case.operation.definition.raw
        if "security" not in raw:
            return None
        roles = [ROLES[tag] for tag in raw["tags"] if tag in ROLES]
        return token(roles[0])

    def set(self, case, data, context):
        if data is not None:
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def after_call(context, case, response):
    """An example was answered."""
    answered[case.operation.label] += 1


@atexit.register
def tell():
    """Adds this run's numbers to the file of all of them."""
    with open(os.environ["EXAMPLES_FILE"], "a", encoding="utf-8") as file:
        file.write(json.dumps(answered) + "\n")
