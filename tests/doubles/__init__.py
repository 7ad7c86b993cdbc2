"""Stand-ins for the clouds' Pulumi providers."""
