"""The seminar on Azure: a resource group of its own, one virtual machine per machine, only SSH open, and an end.

One component. What every cloud does alike (access, sizes, boot, tags) is in rooms of its own. What only the
subscription can answer is asked in azure_survey.py, first of all.
"""

from __future__ import annotations

import base64
import copy
from datetime import datetime
from functools import partial
from typing import Any

import pulumi
from pulumi_azure_native import compute, devtestlab, network, resources

from stacks import access, naming
from stacks.azure_survey import Survey, same_place
from stacks.ends import as_daily
from stacks.machines import Machines, MachinesArgs, user_data
from stacks.seats import by_machine
from stacks.settings import SeminarSettings

# The machine's administrator: none of the names that Azure refuses (they are listed at osProfile.adminUsername,
# https://learn.microsoft.com/rest/api/compute/virtual-machines/create-or-update).
ADMIN = "organiser"

# Private addresses (RFC 1918); a /20 has 4,091 for machines (Azure keeps 5).
_NETWORK, _SUBNET = "10.20.0.0/16", "10.20.0.0/20"

# What can't be changed on a machine that exists, or not while it runs, and would replace it or fail: a newer image, a
# larger disk, another key, changed custom data, spot or not. It counts for new machines.
_NEVER_CHANGED = ["storageProfile", "osProfile", "priority", "evictionPolicy", "billingProfile"]

# The least that the Data Science VM is made with; about 84 GiB of it are the image's.
_LEAST_DISK_GIB = 150

# Rules count from the lowest number on, from 100; before Azure's own, which begin at 65000 and would let in the
# network's other machines and load balancers, the last one refuses everything.
_FIRST_PRIORITY, _LAST_PRIORITY = 100, 4096

# https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service: all tags in one line, `name:value` with
# semicolons between. A machine without tags answers with an empty line.
_READ_ENDS = """\
code=$(curl -s -m 3 --noproxy '*' -o "$known.new" -w '%{http_code}' -H 'Metadata: true' \\
  'http://169.254.169.254/metadata/instance/compute/tags?api-version=2021-02-01&format=text') || code=
if [ "$code" = 200 ]; then
  tr ';' '\\n' <"$known.new" | sed -n 's/^ends://p' >"$known.told" && mv "$known.told" "$known"
fi
"""

# A machine that powers itself off is stopped and still paid for; only what Azure stops is not. So Azure goes first.
_GRACE_MINUTES = 60


class AzureMachines(Machines):
    """A virtual machine for every machine of the seminar, and what they need to be reached and to end."""

    def __init__(self, name: str, args: MachinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises SettingsError where the subscription or the region can't serve these settings."""
        plain = pulumi.ResourceOptions(transformations=[_without_aliases])
        super().__init__("Azure", name, pulumi.ResourceOptions.merge(plain, opts))
        settings = args.settings
        machines = by_machine(args.seats)
        survey = Survey.of(settings, len(machines))
        # Names are given here, so that what is replaced has to go before another can have its name.
        inside = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        where = _group(name, settings, survey, inside)
        subnet = _subnet(name, settings, where, inside)
        for machine, seats in machines.items():
            tags = naming.tags(settings, machine, [seat.id for seat in seats])
            called = naming.for_azure("machine", machine)
            address = network.PublicIPAddress(
                f"{name}-{machine}",
                public_ip_address_name=called,
                sku=network.PublicIPAddressSkuArgs(name="Standard"),
                public_ip_allocation_method="Static",
                public_ip_address_version="IPv4",
                tags=tags,
                opts=inside,
                **where,
            )
            card = network.NetworkInterface(
                f"{name}-{machine}",
                network_interface_name=called,
                ip_configurations=[
                    network.NetworkInterfaceIPConfigurationArgs(
                        name="main",
                        primary=True,
                        private_ip_allocation_method="Dynamic",
                        subnet=network.SubnetArgs(id=subnet),
                        public_ip_address=network.PublicIPAddressArgs(id=address.id),
                    )
                ],
                tags=tags,
                opts=inside,
                **where,
            )
            custom_data = user_data(
                args,
                seats,
                read_ends=_READ_ENDS,
                packages=survey.image.packages,
                services_off=survey.image.services_off,
                grace_minutes=_GRACE_MINUTES,
            )
            # No security profile: with Secure Boot, the Data Science VM's driver for the GPU may not load.
            virtual_machine = compute.VirtualMachine(
                f"{name}-{machine}",
                vm_name=called,
                hardware_profile=compute.HardwareProfileArgs(vm_size=survey.size),
                network_profile=compute.NetworkProfileArgs(
                    network_interfaces=[compute.NetworkInterfaceReferenceArgs(id=card.id, primary=True)]
                ),
                os_profile=_system(called, args.organiser.public_key, custom_data),
                storage_profile=_storage(settings, survey),
                tags=tags,
                opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(ignore_changes=_NEVER_CHANGED)),
                **where,
                **_market(settings),
            )
            if settings.ends is not None:
                _stop_every_day(
                    f"{name}-{machine}",
                    settings.ends,
                    virtual_machine.id,
                    called=called,
                    tags=tags,
                    opts=inside,
                    **where,
                )
            # The address is there before its machine; without the machine nobody should try it.
            made = pulumi.Output.all(address.ip_address, virtual_machine.id)
            self.reach(args, seats, made.apply(lambda known: str(known[0] or "")))
        self.register_outputs({})


def _without_aliases(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
    """Take from a resource the names that it would have had in the SDK of each older version of Azure's API.

    No seminar was made with those; and naming some fifty for every resource is most of what a preview would do.
    """
    opts = copy.copy(args.opts)
    opts.aliases = []
    return pulumi.ResourceTransformationResult(args.props, opts)


def _group(name: str, settings: SeminarSettings, survey: Survey, opts: pulumi.ResourceOptions) -> dict[str, Any]:
    """A resource group of the seminar's own. Returns where all else belongs: its name, and its region once that is seen
    to be the one that is meant."""
    # A region that changed would replace everything; kept, and taken from what is there, it is found out and refused.
    kept = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["location"]))
    # The end is left out, so that nothing of the group ever changes: the plugin would change it in the subscription of
    # whoever is signed in, where there is none and so makes one, before it is seen below that this is another one.
    lasting = {key: value for key, value in naming.tags(settings, "group").items() if key != "ends"}
    group = resources.ResourceGroup(
        f"{name}-group",
        resource_group_name=naming.for_azure("seminar", settings.seminar),
        location=settings.region,
        tags=lasting,
        opts=kept,
    )
    known = pulumi.Output.all(group.id, group.location)
    location = known.apply(partial(same_place, settings, survey.subscription))
    return {"resource_group_name": group.name, "location": location}


def _subnet(
    name: str, settings: SeminarSettings, where: dict[str, Any], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """The id of the one subnet, in a network of the seminar's own, with SSH as the only way in."""
    rules = [
        network.SecurityRuleArgs(
            name=f"ssh-{rule.name}",
            priority=priority,
            direction="Inbound",
            access="Allow",
            protocol="Tcp",
            source_address_prefix=rule.cidr,
            source_port_range="*",
            destination_address_prefix="*",
            destination_port_range=str(rule.port),
        )
        for priority, rule in enumerate(access.rules(settings.allowed_cidrs), start=_FIRST_PRIORITY)
    ]
    nothing_else = network.SecurityRuleArgs(
        name="nothing-else",
        priority=_LAST_PRIORITY,
        direction="Inbound",
        access="Deny",
        protocol="*",
        source_address_prefix="*",
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range="*",
    )
    group = network.NetworkSecurityGroup(
        f"{name}-access",
        network_security_group_name="access",
        security_rules=[*rules, nothing_else],
        tags=naming.tags(settings, "access"),
        opts=opts,
        **where,
    )
    # The subnet is a part of its network here: as a resource of its own, an update of the network would have to leave
    # it out, and Azure takes away what is left out.
    net = network.VirtualNetwork(
        f"{name}-network",
        virtual_network_name="network",
        address_space=network.AddressSpaceArgs(address_prefixes=[_NETWORK]),
        subnets=[
            network.SubnetArgs(
                name="machines",
                address_prefix=_SUBNET,
                network_security_group=network.NetworkSecurityGroupArgs(id=group.id),
            )
        ],
        tags=naming.tags(settings, "network"),
        opts=opts,
        **where,
    )
    return pulumi.Output.concat(net.id, "/subnets/machines")


def _system(called: str, organiser_key: pulumi.Output[str], custom_data: pulumi.Output[str]) -> compute.OSProfileArgs:
    # Custom data and not user data, which the metadata address would serve for as long as the machine lives.
    return compute.OSProfileArgs(
        computer_name=called,
        admin_username=ADMIN,
        custom_data=custom_data.apply(lambda text: base64.b64encode(text.encode()).decode()),
        linux_configuration=compute.LinuxConfigurationArgs(
            disable_password_authentication=True,
            provision_vm_agent=True,
            ssh=compute.SshConfigurationArgs(
                public_keys=[
                    compute.SshPublicKeyArgs(key_data=organiser_key, path=f"/home/{ADMIN}/.ssh/authorized_keys")
                ]
            ),
        ),
    )


def _storage(settings: SeminarSettings, survey: Survey) -> compute.StorageProfileArgs:
    image = survey.image
    return compute.StorageProfileArgs(
        image_reference=compute.ImageReferenceArgs(
            publisher=image.publisher, offer=image.offer, sku=image.sku, version=image.version
        ),
        os_disk=compute.OSDiskArgs(
            create_option="FromImage",
            caching="ReadWrite",
            delete_option="Delete",
            disk_size_gb=max(settings.disk_gib, _LEAST_DISK_GIB),
            managed_disk=compute.ManagedDiskParametersArgs(storage_account_type="StandardSSD_LRS"),
        ),
    )


def _market(settings: SeminarSettings) -> dict[str, Any]:
    """Spot machines at whatever price, which is never above the usual one; taken back, their disks are kept."""
    if not settings.spot:
        return {}
    return {
        "priority": "Spot",
        "eviction_policy": "Deallocate",
        "billing_profile": compute.BillingProfileArgs(max_price=-1.0),
    }


def _stop_every_day(
    name: str, ends: datetime, machine: pulumi.Output[str], *, called: str, opts: pulumi.ResourceOptions, **more: Any
) -> None:
    """Azure's own auto-shutdown, which deallocates. It is daily and nothing else, and must have this very name."""
    time, zone = as_daily(ends)
    devtestlab.GlobalSchedule(
        name,
        name=f"shutdown-computevm-{called}",
        task_type="ComputeVmShutdownTask",
        status="Enabled",
        daily_recurrence=devtestlab.DayDetailsArgs(time=time),
        time_zone_id=zone,
        notification_settings=devtestlab.NotificationSettingsArgs(status="Disabled"),
        target_resource_id=machine,
        opts=opts,
        **more,
    )
