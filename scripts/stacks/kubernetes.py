"""Manifests on standard input (a JSON list) against the schemas of one Kubernetes version; what is wrong goes to standard output, a JSON list of strings or nulls in the same order."""
import json
import sys

import kubernetes_validate


def judge(manifest, version):
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
        return None
    except kubernetes_validate.SchemaNotFoundError:
        return "no schema"
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(str(part) for part in error.path)}: {error.message}"


print(json.dumps([judge(manifest, sys.argv[1]) for manifest in json.load(sys.stdin)]))
