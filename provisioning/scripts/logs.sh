# shellcheck shell=sh disable=SC2154 # lib.sh and the parameters set them
# The last lines of the log of this seat's Jupyter. Parameter: lines (how many).

main() {
  reply unchanged log "$(tail -n "$lines" "$own/notebook.log" 2>/dev/null)"
}
