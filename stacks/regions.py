"""The regions of each cloud, so that a misspelt one is told before anything is asked of a cloud. Pure."""

from __future__ import annotations

# As pulumi-aws lists them, without those that have no public access; a test compares both lists.
AWS_REGIONS = (
    *("af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3"),
    *("ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4"),
    *("ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1"),
    *("eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3"),
    *("il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1"),
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2"),
    *("cn-north-1", "cn-northwest-1", "eusc-de-east-1", "us-gov-east-1", "us-gov-west-1"),
)

# The public cloud's, as `az account list-locations` names them (https://learn.microsoft.com/azure/reliability/
# regions-list, seen 2026-11). The clouds of China and of the US government are others, with addresses of their own.
AZURE_REGIONS = (
    *("australiacentral", "australiacentral2", "australiaeast", "australiasoutheast", "austriaeast", "belgiumcentral"),
    *("brazilsouth", "brazilsoutheast", "canadacentral", "canadaeast", "centralindia", "centralus", "chilecentral"),
    *("denmarkeast", "eastasia", "eastus", "eastus2", "francecentral", "francesouth", "germanynorth"),
    *("germanywestcentral", "indiasouthcentral", "indonesiacentral", "israelcentral", "italynorth", "japaneast"),
    *("japanwest", "jioindiacentral", "jioindiawest", "koreacentral", "koreasouth", "malaysiawest", "mexicocentral"),
    *("newzealandnorth", "northcentralus", "northeurope", "norwayeast", "norwaywest", "polandcentral", "qatarcentral"),
    *("saudiarabiaeast", "southafricanorth", "southafricawest", "southcentralus", "southeastasia", "southindia"),
    *("spaincentral", "swedencentral", "switzerlandnorth", "switzerlandwest", "uaecentral", "uaenorth", "uksouth"),
    *("ukwest", "westcentralus", "westeurope", "westindia", "westus", "westus2", "westus3"),
)

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"}


def partition(region: str) -> str:
    """The partition that the region's ARNs begin with, `aws` for most."""
    return next((name for prefix, name in _PARTITIONS.items() if region.startswith(prefix)), "aws")
