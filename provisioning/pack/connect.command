#!/bin/sh
# Double-click this on a Mac. It is connect.sh in a window of its own.
exec sh "$(dirname "$0")/connect.sh"
