#!/bin/sh
# The real `pulumi preview` of each seminar of a cloud that differs from a revision: live.sh REVISION aws|azure.
# It needs what `pulumi preview` needs: credentials of the cloud, the state's backend and its passphrase.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
command -v pulumi >/dev/null || {
  echo "The Pulumi CLI is not here; \`make pulumi\` installs it." >&2
  exit 2
}
stacks=$(.venv/bin/python -m preview --changed --against "$1" --names "$2")
[ -n "$stacks" ] || echo "No seminar of $2 differs from $1."
failed=0
for stack in $stacks; do
  printf '\n== %s\n' "$stack"
  if pulumi stack --stack "$stack" --non-interactive >/dev/null 2>&1; then
    pulumi preview --stack "$stack" --non-interactive --diff || failed=1
  else
    echo "There is no state of it: it is not up. The preview without an account tells what would be made."
  fi
done
exit "$failed"
