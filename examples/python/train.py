#!/usr/bin/env python3
"""Applies a ResNetTrainingJob and follows it to its end: the API from Python, with nothing but the package kubernetes.

    pip install -r requirements.txt
    python train.py ../../config/samples/fashion-mnist.yaml

It exits with 0 if the job succeeded. Run again, it changes nothing and follows the same job.
"""

import argparse
import sys

import yaml
from kubernetes import client, config, watch

JOBS = {"group": "training.resnet-operator.dev", "version": "v1", "plural": "resnettrainingjobs"}


def apply(api, namespace, job):
    """Server-side apply: what the file does not name stays as it is, or gets its default."""
    api.patch_namespaced_custom_object(
        **JOBS, namespace=namespace, name=job["metadata"]["name"], body=job,
        field_manager="example", _content_type="application/apply-patch+yaml")


def changes(api, namespace, name):
    """Yields the job, now and whenever it changes."""
    while True:  # the API server ends a watch after some minutes; a new one begins with what is then
        stream = watch.Watch().stream(
            api.list_namespaced_custom_object, **JOBS, namespace=namespace,
            field_selector=f"metadata.name={name}", timeout_seconds=300)
        for event in stream:
            if event["type"] == "DELETED":
                sys.exit("the job was deleted")
            yield event["object"]


def condition(job, kind):
    """The condition of a type if it is True, else None."""
    conditions = job.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind and c["status"] == "True"), None)


def show(job):
    """Prints the numbers of the status, which need no parsing. What is not known yet is not there."""
    status = job.get("status", {})
    line = [status.get("state", "")]
    if progress := status.get("progress"):
        line.append("epoch {epoch} of {epochs}, step {step} of {steps}".format(**progress))
        line += [f"{name} {progress[name]}" for name in ("loss", "accuracy") if name in progress]
        if "etaSeconds" in progress:
            line.append(f"{progress['etaSeconds']} s left")
    print(*line, sep=", ", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="YAML file with the job")
    parser.add_argument("--namespace", default="default")
    args = parser.parse_args()
    with open(args.file, encoding="utf-8") as file:
        job = yaml.safe_load(file)

    config.load_config()  # of kubectl, or of the pod that this runs in
    api = client.CustomObjectsApi()
    apply(api, args.namespace, job)
    for job in changes(api, args.namespace, job["metadata"]["name"]):
        show(job)
        if condition(job, "Complete"):
            print("model:", job["status"]["artifacts"]["model"])
            return
        if failed := condition(job, "Failed"):
            sys.exit(f"{failed['reason']}: {failed['message']}")


if __name__ == "__main__":
    main()
