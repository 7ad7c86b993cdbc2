"""The seminar on Azure, declared with the real SDK: every property of every resource, and each refusal before any."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
import yaml

from stacks import azure_survey
from stacks.outputs import HandOver
from tests import recorder as recorders
from tests.doubles.management import SUBSCRIPTION, Management, a_management, size, usage
from tests.program import HOST_KEY, Exported, Monitor, Refusal, run

SETTINGS = {
    "cloud": "azure",
    "participants": "2",
    "region": "westeurope",
    "allowed-cidrs": '["192.88.99.0/24", "2001:db8:1::/48"]',
    "size": "gpu-small",
    "disk-gib": "256",
    "ends": "2099-03-05 18:00 Europe/Berlin",
    "spot": "true",
}
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/seminar-spring"
TOKEN = "the token of the organiser"


class Recorder(recorders.Recorder):
    """Answers as Azure would. `answers` replaces an answer by its token; `group` is what the group's outputs are."""

    def __init__(self, *, group: dict[str, str] | None = None, group_id: str = GROUP, **answers: Any) -> None:
        self.group = group or {}
        self.group_id = group_id
        super().__init__(
            {
                "getClientConfig": {"subscriptionId": SUBSCRIPTION, "clientId": "", "objectId": "", "tenantId": ""},
                "getClientToken": {"token": TOKEN},
                **answers,
            }
        )

    def made(self, kind: str, name: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if kind == "ResourceGroup":
            return self.group_id, {"name": given["resourceGroupName"], "location": given["location"], **self.group}
        return f"id of {kind} {name}", {"ipAddress": f"address of {name}"} if kind == "PublicIPAddress" else {}


@pytest.fixture(autouse=True)
def management(monkeypatch: pytest.MonkeyPatch) -> Iterator[Management]:
    with a_management() as found:
        monkeypatch.setattr(azure_survey, "MANAGEMENT", found.endpoint)
        yield found


def declare(recorder: Recorder, monitor: Monitor | None = None, **more: str) -> Exported:
    return run(recorder, {**SETTINGS, **{key.replace("_", "-"): value for key, value in more.items()}}, monitor)


def tags(name: str, **more: str) -> dict[str, str]:
    told = {"Name": f"spring-{name}", "seminar": "spring", "managed-by": "pulumi", "ends": "2099-03-05T17:00:00Z"}
    return {**told, **more}


def rule(name: str, priority: int, access: str, protocol: str, source: str, port: str) -> dict[str, Any]:
    return {
        "name": name,
        "priority": priority,
        "direction": "Inbound",
        "access": access,
        "protocol": protocol,
        "sourceAddressPrefix": source,
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": port,
    }


# What the SDK adds to every subnet; Azure's own defaults.
OF_THE_SDK = {"privateEndpointNetworkPolicies": "Disabled", "privateLinkServiceNetworkPolicies": "Enabled"}
HERE = {"resourceGroupName": "seminar-spring", "location": "westeurope"}


def machine(id_: str) -> dict[str, dict[str, Any]]:
    here = {**HERE, "tags": tags(id_, participant=id_)}
    return {
        f"PublicIPAddress machines-{id_}": {
            **here,
            "publicIpAddressName": f"machine-{id_}",
            "sku": {"name": "Standard"},
            "publicIPAllocationMethod": "Static",
            "publicIPAddressVersion": "IPv4",
        },
        f"NetworkInterface machines-{id_}": {
            **here,
            "networkInterfaceName": f"machine-{id_}",
            "ipConfigurations": [
                {
                    "name": "main",
                    "primary": True,
                    "privateIPAllocationMethod": "Dynamic",
                    "subnet": {"id": "id of VirtualNetwork machines-network/subnets/machines", **OF_THE_SDK},
                    "publicIPAddress": {"id": f"id of PublicIPAddress machines-{id_}"},
                }
            ],
        },
        f"VirtualMachine machines-{id_}": {
            **here,
            "vmName": f"machine-{id_}",
            "hardwareProfile": {"vmSize": "Standard_NC4as_T4_v3"},
            "networkProfile": {
                "networkInterfaces": [{"id": f"id of NetworkInterface machines-{id_}", "primary": True}]
            },
            "osProfile": {
                "computerName": f"machine-{id_}",
                "adminUsername": "organiser",
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "provisionVMAgent": True,
                    "ssh": {
                        "publicKeys": [{"keyData": "organiser's key", "path": "/home/organiser/.ssh/authorized_keys"}]
                    },
                },
            },
            "storageProfile": {
                "imageReference": {
                    "publisher": "microsoft-dsvm",
                    "offer": "ubuntu-2204",
                    "sku": "2204-gen2",
                    "version": "25.06.18",
                },
                "osDisk": {
                    "createOption": "FromImage",
                    "caching": "ReadWrite",
                    "deleteOption": "Delete",
                    "diskSizeGB": 256,
                    "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
                },
            },
            "priority": "Spot",
            "evictionPolicy": "Deallocate",
            "billingProfile": {"maxPrice": -1},
        },
        f"GlobalSchedule machines-{id_}": {
            **here,
            "name": f"shutdown-computevm-machine-{id_}",
            "taskType": "ComputeVmShutdownTask",
            "status": "Enabled",
            "dailyRecurrence": {"time": "1800"},
            "timeZoneId": "W. Europe Standard Time",
            "notificationSettings": {"status": "Disabled"},
            "targetResourceId": f"id of VirtualMachine machines-{id_}",
        },
    }


WHOLE = {
    "ResourceGroup machines-group": {
        **HERE,
        "tags": {key: tags("group")[key] for key in ("Name", "seminar", "managed-by")},
    },
    "NetworkSecurityGroup machines-access": {
        **HERE,
        "networkSecurityGroupName": "access",
        "securityRules": [
            rule("ssh-22-192.88.99.0-24", 100, "Allow", "Tcp", "192.88.99.0/24", "22"),
            rule("ssh-443-192.88.99.0-24", 101, "Allow", "Tcp", "192.88.99.0/24", "443"),
            rule("ssh-22-2001.db8.1..-48", 102, "Allow", "Tcp", "2001:db8:1::/48", "22"),
            rule("ssh-443-2001.db8.1..-48", 103, "Allow", "Tcp", "2001:db8:1::/48", "443"),
            rule("nothing-else", 4096, "Deny", "*", "*", "*"),
        ],
        "tags": tags("access"),
    },
    "VirtualNetwork machines-network": {
        **HERE,
        "virtualNetworkName": "network",
        "addressSpace": {"addressPrefixes": ["10.20.0.0/16"]},
        "subnets": [
            {
                "name": "machines",
                "addressPrefix": "10.20.0.0/20",
                "networkSecurityGroup": {"id": "id of NetworkSecurityGroup machines-access"},
                **OF_THE_SDK,
            }
        ],
        "enableDdosProtection": False,  # these two are the SDK's own defaults as well
        "enableVmProtection": False,
        "tags": tags("network"),
    },
    **machine("01"),
    **machine("02"),
}


def custom_data(recorder: Recorder, id_: str) -> str:
    return base64.b64decode(recorder.declared[f"VirtualMachine machines-{id_}"]["osProfile"]["customData"]).decode()


def of_azure(recorder: Recorder) -> dict[str, dict[str, Any]]:
    """All that is Azure's, without the custom data."""
    found = recorder.of_cloud()
    for given in found.values():
        given.get("osProfile", {}).pop("customData", None)
    return found


def test_every_property_of_every_resource() -> None:
    recorder = Recorder()
    declare(recorder)
    found = of_azure(recorder)
    assert sorted(found) == sorted(WHOLE)
    for key, given in WHOLE.items():
        assert found[key] == given, key


def test_the_custom_data_is_secret_and_each_machine_s_own() -> None:
    recorder = Recorder()
    declare(recorder)
    secrets = {each for each in recorder.secret if "MachineCredentials" not in each}
    assert secrets == {f"VirtualMachine machines-{id_} osProfile" for id_ in ("01", "02")}
    assert "userData" not in recorder.declared["VirtualMachine machines-02"]
    text = custom_data(recorder, "02")
    document = yaml.safe_load(text)
    assert document["ssh_keys"] == {"ed25519_private": "host key of 02", "ed25519_public": HOST_KEY}
    assert document["users"][1]["ssh_authorized_keys"] == ["public_key of 02", "organiser's key"]
    for word in ("password of", "password_hash", "private_key of", "Participant 02", " of 01"):
        assert word not in text


def test_the_image_s_jupyterhub_is_off_on_every_boot_and_the_plain_image_has_none() -> None:
    recorder = Recorder()
    declare(recorder)
    document = yaml.safe_load(custom_data(recorder, "01"))
    assert document["bootcmd"][1] == [
        "sh",
        "-c",
        "systemctl disable --now --no-block jupyterhub.service || true\n",
    ]
    assert "packages" not in document
    recorder = Recorder()
    declare(recorder, image="ubuntu-24.04")
    document = yaml.safe_load(custom_data(recorder, "01"))
    assert len(document["bootcmd"]) == 1
    assert document["packages"] == ["python3-venv"]


def test_nothing_that_changes_later_replaces_a_machine() -> None:
    recorder = Recorder()
    monitor = Monitor(recorder)
    declare(recorder, monitor)
    request = monitor.options["azure-native:compute:VirtualMachine::machines-01"]
    never = {"storageProfile", "osProfile", "priority", "evictionPolicy", "billingProfile"}
    assert set(request.ignoreChanges) == never
    assert monitor.options["azure-native:resources:ResourceGroup::machines-group"].ignoreChanges == ["location"]
    of_azure = {key: each for key, each in monitor.options.items() if key.startswith("azure-native:")}
    assert len(of_azure) == len(WHOLE)
    for key, each in of_azure.items():
        assert each.deleteBeforeReplace, key
        assert not each.aliases, key  # the SDK would name fifty, which cost more than all the rest
        assert each.parent.endswith("::machines"), key


@pytest.mark.parametrize(
    "change", [{"ends": "2099-04-01 12:00 Europe/Berlin"}, {"size": "cpu-small"}, {"spot": "false"}]
)
def test_no_setting_changes_the_group(change: dict[str, str]) -> None:
    """Azure's plugin would look for it in the subscription that is signed in, and make one where there is none."""
    before, after = Recorder(), Recorder()
    declare(before)
    declare(after, None, **change)
    key = "ResourceGroup machines-group"
    assert before.declared[key] == after.declared[key]


def test_the_least_that_a_seminar_can_be() -> None:
    recorder = Recorder()
    declare(recorder, disk_gib="0", ends="", spot="false")
    assert "GlobalSchedule" not in {key.split()[0] for key in recorder.declared}
    vm = recorder.declared["VirtualMachine machines-01"]
    assert {"priority", "evictionPolicy", "billingProfile"}.isdisjoint(vm)
    assert "ends" not in vm["tags"]


@pytest.mark.parametrize(("wish", "gib"), [("0", 150), ("10", 150), ("151", 151)])
def test_the_disk_is_never_too_small_for_the_image(wish: str, gib: int) -> None:
    recorder = Recorder()
    declare(recorder, disk_gib=wish)
    assert recorder.declared["VirtualMachine machines-01"]["storageProfile"]["osDisk"]["diskSizeGB"] == gib


@pytest.mark.parametrize(
    ("ends", "time", "zone"),
    [
        ("2099-03-05 18:00 Asia/Kolkata", "1800", "India Standard Time"),
        ("2099-07-05 09:05 America/New_York", "0905", "Eastern Standard Time"),
        ("2099-03-05T18:00+01:00", "1700", "UTC"),
        ("2099-03-05T18:00Z", "1800", "UTC"),
        ("2099-07-05 18:00 Antarctica/Troll", "1600", "UTC"),  # Windows has no such zone
    ],
)
def test_the_end_is_a_time_of_day_in_the_organiser_s_zone(ends: str, time: str, zone: str) -> None:
    recorder = Recorder()
    declare(recorder, ends=ends)
    schedule = recorder.declared["GlobalSchedule machines-01"]
    assert (schedule["dailyRecurrence"], schedule["timeZoneId"]) == ({"time": time}, zone)


def test_the_hand_over() -> None:
    found = declare(Recorder())
    handover = HandOver.from_dict(found.outputs["handover"])
    assert [seat.id for seat in handover.seats] == ["01", "02"]
    seat = handover.seats[0]
    assert (seat.host, seat.ssh_ports, seat.user) == ("address of machines-01", (22, 443), "participant")
    assert (seat.notebook_port, seat.local_port, seat.host_key, seat.files) == (8888, 8888, HOST_KEY, "")
    assert found.secret == {"secrets"}


def refused(recorder: Recorder, **more: str) -> str:
    """The message of a run that was refused before anything was declared of Azure."""
    with pytest.raises(pulumi.RunError) as caught:
        declare(recorder, None, **more)
    assert of_azure(recorder) == {}
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"group": {"location": "northeurope"}},
            "Pulumi.spring.yaml: seminar:region is westeurope, and this seminar's machines are in northeurope; "
            "expected northeurope. To move them, which makes them anew and empty, `pulumi destroy` first.",
        ),
        (
            {"group_id": "/subscriptions/another/resourceGroups/seminar-spring"},
            f"You are signed in to the subscription {SUBSCRIPTION}, and this seminar's machines are in another; "
            "`az account set --subscription another`, or set ARM_SUBSCRIPTION_ID, and run this again.",
        ),
    ],
)
def test_another_place_is_refused_and_moves_nobody(change: dict[str, Any], said: str) -> None:
    recorder = Recorder(**change)
    with pytest.raises(pulumi.RunError) as caught:
        declare(recorder)
    assert str(caught.value) == said
    assert set(of_azure(recorder)) == {"ResourceGroup machines-group"}


def test_a_region_as_azure_spells_it_for_people_is_the_same() -> None:
    recorder = Recorder(group={"location": "West Europe"})
    declare(recorder)
    assert recorder.declared["VirtualMachine machines-01"]["location"] == "West Europe"


def test_what_is_asked_of_azure(management: Management) -> None:
    declare(Recorder())
    at = f"/subscriptions/{SUBSCRIPTION}/providers"
    here = f"{at}/Microsoft.Compute/locations/westeurope"
    assert [(path, query.get("$filter")) for path, query, _ in management.asked if "page" not in query] == [
        (f"{at}/Microsoft.Compute/skus", "location eq 'westeurope'"),
        (f"{at}/Microsoft.Network/locations/westeurope/usages", None),
        (f"{here}/usages", None),
        (f"{here}/publishers/microsoft-dsvm/artifacttypes/vmimage/offers/ubuntu-2204/skus/2204-gen2/versions", None),
    ]
    assert {who for *_, who in management.asked} == {f"Bearer {TOKEN}"}
    assert all("api-version" in query or "page" in query for _, query, _ in management.asked)


@pytest.mark.parametrize(
    ("skus", "more", "said"),
    [
        (
            [],
            {},
            "seminar:size means Standard_NC4as_T4_v3, which westeurope does not offer to this subscription; expected "
            "another size or region.",
        ),
        (
            [size("Standard_NC4as_T4_v3", 4, "x")],
            {"machine_type": "Standard_D4s_v5"},
            "seminar:machine-type means Standard_D4s_v5, which westeurope does not offer to this subscription; "
            "expected another size or region.",
        ),
        (
            [
                {
                    **size("Standard_NC4as_T4_v3", 4, "x"),
                    "restrictions": [{"type": "Location", "reasonCode": "NotAvailableForSubscription"}],
                }
            ],
            {},
            "seminar:size means Standard_NC4as_T4_v3, which westeurope does not offer to this subscription "
            "(NotAvailableForSubscription); expected another size or region.",
        ),
        (
            [size("Standard_D4ps_v5", 4, "x", CpuArchitectureType="Arm64")],
            {"machine_type": "Standard_D4ps_v5"},
            "seminar:machine-type means Standard_D4ps_v5, whose processor is Arm64; expected a size with x64, for "
            "which the images are made.",
        ),
    ],
)
def test_a_size_that_can_not_be(management: Management, skus: list[Any], more: dict[str, str], said: str) -> None:
    management.answers["skus"] = skus
    assert refused(Recorder(), **more) == f"Pulumi.spring.yaml: {said}"


def test_a_size_with_zones_closed_in_part_is_taken(management: Management) -> None:
    closed = {"type": "Zone", "reasonCode": "NotAvailableForSubscription"}
    management.answers["skus"] = [{**size("STANDARD_NC4as_t4_v3", 4, "cores"), "restrictions": [closed]}]
    assert declare(Recorder()).outputs["handover"]["seats"]


@pytest.mark.parametrize(
    ("usages", "more", "said"),
    [
        (
            [usage("lowPriorityCores", 7)],
            {},
            "need 8 vCPUs, and this subscription's quota in westeurope is 7: ask for more of lowPriorityCores",
        ),
        ([usage("standard NCASv3_T4 family", 7)], {"spot": "false"}, "is 7: ask for more of Standard NCASv3_T4 Family"),
        ([usage("cores", 0)], {"spot": "false"}, "is 0: ask for more of cores; docs/azure.md says how."),
    ],
)
def test_a_quota_that_is_too_small(management: Management, usages: list[Any], more: dict[str, str], said: str) -> None:
    management.answers["Microsoft.Compute"] = usages
    told = refused(Recorder(), **more)
    assert told.startswith("2 machines of size Standard_NC4as_T4_v3 need ")
    assert said in told


@pytest.mark.parametrize("quota", ["IPv4StandardSkuPublicIpAddresses", "PublicIPAddresses"])
def test_too_few_public_addresses(management: Management, quota: str) -> None:
    management.answers["Microsoft.Network"] = [usage("VirtualNetworks", 1), usage(quota, 2)]
    assert refused(Recorder(), participants="3") == (
        "3 machines of size Standard_NC4as_T4_v3 need 3 public addresses, and this subscription's quota in westeurope "
        f"is 2: ask for more of {quota}; docs/azure.md says how."
    )
    declare(Recorder(), participants="2")


def test_the_version_of_the_image(management: Management) -> None:
    recorder = Recorder()
    declare(recorder, image="microsoft-dsvm:ubuntu-2204:2204-gen2:9.12.1")
    assert recorder.declared["VirtualMachine machines-01"]["storageProfile"]["imageReference"]["version"] == "9.12.1"
    assert refused(Recorder(), image="microsoft-dsvm:ubuntu-2204:2204-gen2:24.01.01") == (
        "Pulumi.spring.yaml: seminar:image microsoft-dsvm:ubuntu-2204:2204-gen2:24.01.01 was not found in westeurope; "
        "it has 9.12.1, 25.01.30, 25.06.18."
    )
    management.refusal = {"error": {"code": "NotFound", "message": "Artifact: VMImage was not found."}}
    nothing: list[Any] = [[], 404]  # the second is Azure's own
    for management.answers["versions"] in nothing:
        told = refused(Recorder())
        assert told.endswith("was not found in westeurope; it has none of this publisher, offer and sku.")


def test_all_that_azure_says_no_to_at_once(management: Management) -> None:
    management.answers["Microsoft.Compute"] = [usage("lowPriorityCores", 1)]
    management.answers["Microsoft.Network"] = [usage("IPv4StandardSkuPublicIpAddresses", 1)]
    management.answers["versions"] = []
    told = refused(Recorder()).splitlines()
    assert len(told) == 3
    assert all(line.endswith(".") for line in told)


@pytest.mark.parametrize("silent", ["skus", "Microsoft.Compute", "Microsoft.Network", "versions"])
def test_what_may_not_be_asked_stops_nobody_and_is_told(
    management: Management, silent: str, caplog: pytest.LogCaptureFixture
) -> None:
    management.answers[silent] = 403
    recorder = Recorder()
    declare(recorder)
    assert "VirtualMachine machines-02" in recorder.declared
    assert caplog.text.count("so this is not checked before anything is made: HTTP Error 403: Forbidden.") == 1


def test_a_right_that_is_missing_is_named(management: Management, caplog: pytest.LogCaptureFixture) -> None:
    management.answers["skus"] = 403
    management.refusal = {
        "error": {"code": "AuthorizationFailed", "message": "no right to\nMicrosoft.Compute/skus/read."}
    }
    declare(Recorder())
    assert "not checked before anything is made: no right to Microsoft.Compute/skus/read." in caplog.text


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("skus", [{"resourceType": "virtualMachines"}]),
        ("skus", [{**size("Standard_NC4as_T4_v3", 4, "x"), "capabilities": []}]),
        ("skus", [7]),
        ("Microsoft.Compute", [{"limit": 1}]),
        ("Microsoft.Network", [{"name": "x", "limit": 1}]),
        ("versions", [{}]),
        ("versions", "not a list"),
    ],
)
def test_an_answer_of_another_shape_stops_nobody_and_is_told(
    management: Management, key: str, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    management.answers[key] = answer
    recorder = Recorder()
    declare(recorder)
    assert "VirtualMachine machines-02" in recorder.declared
    assert caplog.text.count("so this is not checked before anything is made: the answer is not as documented") == 1


def test_a_subscription_that_is_not_there_is_no_missing_image(
    management: Management, caplog: pytest.LogCaptureFixture
) -> None:
    management.answers["versions"] = 404
    management.refusal = {"error": {"code": "SubscriptionNotFound", "message": "The subscription could not be found."}}
    declare(Recorder())
    assert "Azure did not say which versions the image has" in caplog.text
    assert "made: The subscription could not be found." in caplog.text


@pytest.mark.parametrize("body", ["", "<html>", '{"value": [', "CUT"])
def test_an_answer_that_breaks_off_stops_nobody(
    management: Management, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    management.raw = body
    declare(Recorder())
    assert caplog.text.count("so this is not checked before anything is made: ") == 3  # no size, so no quota of vCPUs


def test_addresses_are_counted_also_where_the_sizes_are_not_told(management: Management) -> None:
    management.answers["skus"] = 403
    management.answers["Microsoft.Network"] = [usage("IPv4StandardSkuPublicIpAddresses", 1)]
    assert "need 2 public addresses" in refused(Recorder())


def test_an_account_that_hands_out_no_token_is_told_and_asked_nothing(
    management: Management, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(getClientToken=Refusal("no token"))
    declare(recorder)
    assert management.asked == []
    assert "Azure did not say anything, so this is not checked before anything is made: no token." in caplog.text
    image = recorder.declared["VirtualMachine machines-01"]["storageProfile"]["imageReference"]
    assert image["version"] == "latest"


def test_the_token_goes_nowhere_else(management: Management, caplog: pytest.LogCaptureFixture) -> None:
    with a_management() as elsewhere:
        management.endpoint = elsewhere.endpoint  # the next page is there
        declare(Recorder())
        assert "which sizes there are, so this is not checked" in caplog.text
        assert "the answer goes on at 127.0.0.1, which is not asked." in caplog.text
        caplog.clear()
        management.elsewhere, management.answers["skus"] = elsewhere.endpoint, 307  # everything is there
        declare(Recorder())
    assert elsewhere.asked == []
    assert "Azure did not say which sizes there are" in caplog.text


def test_no_credentials() -> None:
    recorder = Recorder(getClientConfig=Refusal("please run 'az login'"))
    assert refused(recorder) == "Azure did not say who you are: please run 'az login'."
