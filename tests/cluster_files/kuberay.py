"""KubeRay's checks of a RayJob: its custom resource definition, and the rules in its code.

The definition is data of KubeRay (Apache-2.0), read from the folder that SEGSWEEP_CRDS names. The rules are those of KubeRay 1.7,
`ray-operator/controllers/ray/utils/validation.go`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

Manifest = dict[str, Any]
NEVER = (None, "", "Never")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def validator(folder: Path) -> Draft202012Validator:
    """Return a validator of RayJobs, from the definition in a folder."""
    definition = yaml.load((folder / "rayjobs.yaml").read_text(encoding="utf-8"), LOADER)
    (version,) = [each for each in definition["spec"]["versions"] if each["name"] == "v1"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}  # checked by the API server itself
    return Draft202012Validator(schema)


def strict(schema: Any) -> Any:
    """Return an OpenAPI schema as the API server applies it: unknown fields are errors, and defaults are filled in first."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    ignored = ("format", "default", "description")
    read = {name: value for name, value in schema.items() if name not in ignored and not name.startswith("x-kubernetes")}
    properties = read.pop("properties", None)
    made = {name: strict(value) for name, value in read.items()}
    if properties is not None:
        made["properties"] = {name: strict(value) for name, value in properties.items()}
        if "additionalProperties" not in made and not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
        if "required" in made:
            made["required"] = [name for name in made["required"] if "default" not in properties.get(name, {})]
    return made


def problems(manifest: Manifest) -> list[str]:
    """Return the errors of a RayJob by KubeRay's code."""
    return [*_of_the_job(manifest), *_of_the_cluster(manifest["spec"]["rayClusterSpec"])]


def _of_the_job(manifest: Manifest) -> Iterator[str]:
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    if len(name) > 47 or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield "metadata.name: at most 47 characters, a DNS label"
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not spec.get("shutdownAfterJobFinishes"):
        yield "ttlSecondsAfterFinished: needs shutdownAfterJobFinishes"
    if spec.get("deletionStrategy", {}).get("deletionRules") and spec.get("shutdownAfterJobFinishes"):
        yield "deletionRules: not with shutdownAfterJobFinishes"
    if spec.get("suspend") and not spec.get("shutdownAfterJobFinishes"):
        yield "suspend: needs shutdownAfterJobFinishes"
    if spec.get("backoffLimit", 0) > 0 and (spec.get("clusterSelector") or spec.get("submissionMode") == "InteractiveMode"):
        yield "backoffLimit: not with clusterSelector or InteractiveMode"
    if spec.get("submissionMode") == "SidecarMode":
        if {"submitterPodTemplate", "submitterConfig", "clusterSelector"} & spec.keys():
            yield "SidecarMode: no submitterPodTemplate, submitterConfig or clusterSelector"
        if head.get("restartPolicy") not in NEVER:
            yield "SidecarMode: restartPolicy of the head is Never"


def _of_the_cluster(cluster: Manifest) -> Iterator[str]:
    head, workers = cluster["headGroupSpec"], cluster.get("workerGroupSpecs", [])
    scales = bool(cluster.get("enableInTreeAutoscaling"))
    version = cluster.get("autoscalerOptions", {}).get("version")
    named = {each["name"]: each.get("value") for each in head["template"]["spec"]["containers"][0].get("env", [])}
    for group in (head, *workers):
        name = group.get("groupName", "head")
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & group.get("rayStartParams", {}).keys():
            yield f"{name}: resources stand in rayStartParams or in resources, not in both"
        if "labels" in group.get("rayStartParams", {}):
            yield f"{name}: labels do not stand in rayStartParams"
        if scales and version == "v2" and group["template"]["spec"].get("restartPolicy") not in NEVER:
            yield f"{name}: restartPolicy is Never with the autoscaler v2"
    for group in workers:
        least, most = group.get("minReplicas"), group.get("maxReplicas")
        if (least or 0) < 0 or (None not in (least, most) and least > most):
            yield f"{group['groupName']}: minReplicas between 0 and maxReplicas"
    if scales and version is not None and "RAY_enable_autoscaler_v2" in named:
        yield "autoscalerOptions.version or RAY_enable_autoscaler_v2, not both"
    if not scales and named.get("RAY_enable_autoscaler_v2") in ("1", "true"):
        yield "RAY_enable_autoscaler_v2: needs enableInTreeAutoscaling"
    if cluster.get("authOptions", {}).get("mode") == "token" and _numbers(cluster.get("rayVersion", "")) < (2, 52, 0):
        yield "authOptions: rayVersion of 2.52.0 or newer"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
