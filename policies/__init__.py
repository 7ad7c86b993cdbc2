"""What no seminar may be, whatever its program says: guard rails, kept by the preview and by `pulumi up` alike."""
