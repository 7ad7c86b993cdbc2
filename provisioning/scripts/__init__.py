"""What runs on machines: POSIX shell, and Python where files with any name are moved. It is sent there as text."""
