"""The seminar on this computer: runs the program with or without the Pulumi CLI, starts and ends the sshd machines."""
