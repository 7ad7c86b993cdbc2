# shellcheck shell=sh disable=SC2154 # lib.sh sets them
# End this seat's Jupyter and its kernels. The work stays.

main() {
  alone
  if running || starts_itself; then
    end_jupyter
    reply changed
  else
    rm -f "$own/notebook.pid"
    reply unchanged
  fi
}
