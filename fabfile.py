from provisioning import namespace  # noqa: F401 (what fab looks for)
