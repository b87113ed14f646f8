"""A program that launches the machines of a cluster's file with Ray's autoscaler on AWS, run against moto's servers.

usage: ask_aws.py FILE [NODE_TYPE.FIELD=VALUE]

It sets up the account as `ray up` does (role, key, security group), launches one machine of each node type, and prints EC2's
description and Ray's expected resources of each type as JSON. `head.Field=VALUE` adds a field to a node type's `node_config`.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import yaml
from ray.autoscaler._private.aws import config as aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.tags import (
    TAG_RAY_LAUNCH_CONFIG,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)


def launch(config: dict[str, Any]) -> None:
    """Launch one machine of each node type."""
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, node_type in config["available_node_types"].items():
        tags = {
            TAG_RAY_NODE_KIND: "head" if name == config["head_node_type"] else "worker",
            TAG_RAY_USER_NODE_TYPE: name,
            TAG_RAY_NODE_NAME: f"ray-{name}",
            TAG_RAY_LAUNCH_CONFIG: "test",
            TAG_RAY_NODE_STATUS: "uninitialized",
        }
        provider.create_node(node_type["node_config"], tags, 1)


def listed(ec2: Any) -> dict[str, Any]:
    """Return EC2's description of the machine of each node type."""
    instances = [each for found in ec2.describe_instances()["Reservations"] for each in found["Instances"]]
    return {next(tag["Value"] for tag in each["Tags"] if tag["Key"] == TAG_RAY_USER_NODE_TYPE): each for each in instances}


def main(path: str, *changes: str) -> None:
    """Set up the account, launch the machines, and print the result."""
    config = prepare_config(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    validate_config(config)
    ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]  # the file has a placeholder
    for node_type in config["available_node_types"].values():
        node_type["node_config"]["ImageId"] = image
    for change in changes:
        place, value = change.split("=", 1)
        name, field = place.split(".")
        config["available_node_types"][name]["node_config"][field] = value
    aws.time = SimpleNamespace(sleep=lambda _: None, time=time.time)  # Ray would wait 30 s, although moto answers at once
    config = AWSNodeProvider.fillout_available_node_types_resources(aws.bootstrap_aws(config))
    launch(config)
    kinds = {name: (each["InstanceType"], each.get("InstanceLifecycle")) for name, each in listed(ec2).items()}
    groups = ec2.describe_security_groups(GroupNames=[f"ray-autoscaler-{config['cluster_name']}"])["SecurityGroups"]
    resources = {name: each["resources"] for name, each in config["available_node_types"].items()}
    print(json.dumps({"launched": kinds, "resources": resources, "groups": len(groups)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
