# shellcheck shell=sh disable=SC2154 # lib.sh and the parameters set them
# Send the participant's work: collect.py does it. It reads alone, so that nobody else must wait for it.
# Parameters: program (the text of lib.py and collect.py), pythons, workdir, largest, given, known.

main() {
  exec 3<&0 </dev/null
  run_program "$workdir" "$largest" "$given" "$known"
}
