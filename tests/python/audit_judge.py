"""Judges checkpoints and proofs as docs/verify/verify.py does: a list of true and false, one for each case.

    python audit_judge.py CASES [LEAVES]

With LEAVES, a list of entries in base64, it also prints the roots that pymerkle has for each number of them.
"""

import base64
import importlib.util
import json
import pathlib
import sys

import pymerkle
from cryptography.exceptions import InvalidSignature

path = pathlib.Path(__file__).resolve().parents[2] / "docs/verify/verify.py"
spec = importlib.util.spec_from_file_location("verify", path)
verify = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
spec.loader.exec_module(verify)


def judge(case):
    try:
        if case["kind"] == "note":
            verify.Checkpoint(case["note"], [verify.Key(key) for key in case["keys"]])
            return True
        proof = [verify.unbase64(node) for node in case["proof"]]
        root = verify.unbase64(case["root"])
        if case["kind"] == "inclusion":
            return verify.verify_inclusion(verify.unbase64(case["leaf"]), case["index"], case["size"], root, proof)
        return verify.verify_consistency(case["old"], verify.unbase64(case["oldRoot"]), case["size"], root, proof)
    except (verify.Fault, InvalidSignature, ValueError):
        return False


def roots(leaves):
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for leaf in leaves:
        tree.append_entry(base64.b64decode(leaf))
    return [base64.b64encode(tree.get_root(size)).decode() for size in range(1, len(leaves) + 1)]


answer = {"verdicts": [judge(case) for case in json.load(open(sys.argv[1]))]}
if len(sys.argv) > 2:
    answer["roots"] = roots(json.load(open(sys.argv[2])))
print(json.dumps(answer))
