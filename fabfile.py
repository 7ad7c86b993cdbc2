from provisioning import namespace as namespace
