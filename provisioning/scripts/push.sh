# shellcheck shell=sh disable=SC2154 # lib.sh and the parameters set them
# Put the organiser's files into the working directory: push.py does it, alone on this seat.
# Parameters: program (the text of lib.py and push.py), pythons, workdir.

main() {
  exec 3<&0 </dev/null
  alone
  run_program "$workdir"
}
