"""moto's server with deploy/template.yaml in it, as a process of the environment .venv-aws.

It prints one line of JSON, its address and the outputs of the stack, and ends when its standard input does.
"""

import functools
import json
import os
import sys
from pathlib import Path

import aws
from samtranslator.public.translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).parents[1] / "deploy/template.yaml"


class NoPolicies(ManagedPolicyLoader):
    """The template names none of AWS's own policies."""

    def __init__(self):
        super().__init__(None)

    def load(self):
        return {}


def translated(parameters: dict[str, str]) -> dict:
    """The template as CloudFormation has it after SAM's transform."""
    os.environ["AWS_DEFAULT_REGION"] = aws.REGION
    source = yaml_parse(TEMPLATE.read_text())
    source["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://packages/package.zip"  # as `package` writes it
    return transform(source, parameters, NoPolicies())


def create(client, template: dict, parameters: dict[str, str]) -> dict[str, str]:
    """Create the stack; its outputs."""
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    client("s3").create_bucket(Bucket="packages")
    client("s3").put_object(Bucket="packages", Key="package.zip", Body=b"PK\5\6" + bytes(18))
    cloudformation = client("cloudformation")
    cloudformation.create_stack(StackName="live", TemplateBody=json.dumps(template), Parameters=given)
    (stack,) = cloudformation.describe_stacks(StackName="live")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def notify(client, template: dict, outputs: dict[str, str]) -> None:
    """Set the notification of the template, which moto's CloudFormation leaves out."""
    bucket = outputs["Source"].split("/")[2]
    queue = client("sqs").get_queue_attributes(QueueUrl=outputs["Queue"], AttributeNames=["QueueArn"])
    (said,) = template["Resources"]["SourceBucket"]["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
    assert said["Queue"] == {"Fn::GetAtt": ["Arrivals", "Arn"]}
    (rule,) = said["Filter"]["S3Key"]["Rules"]
    how = {
        "QueueArn": queue["Attributes"]["QueueArn"],
        "Events": [said["Event"]],
        "Filter": {"Key": {"FilterRules": [rule]}},
    }
    client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [how]}
    )


def main() -> None:
    with aws.moto() as address:
        serve(address)


def serve(address: str) -> None:
    """Have the stack at an address until standard input ends."""
    client = functools.partial(aws.client, endpoint=address)
    parameters = {"Prefix": "mine", "Deblur": "true", "AlarmEmail": "someone@example.com"}
    template = translated(parameters)
    outputs = create(client, template, parameters)
    notify(client, template, outputs)
    functions = client("lambda")  # whose calls moto can only pretend
    (mapping,) = functions.list_event_source_mappings()["EventSourceMappings"]
    functions.delete_event_source_mapping(UUID=mapping["UUID"])
    print(json.dumps({"address": address, "outputs": outputs, "mapping": mapping["EventSourceArn"]}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
