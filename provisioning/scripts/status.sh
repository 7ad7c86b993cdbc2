# shellcheck shell=sh disable=SC2154 # lib.sh and the parameters set them
# How this seat's Jupyter is. Changes nothing. Parameter: password_hash, the one that the stack made.

main() {
  slurp "$config"
  case $content in
    '') password=no ;;
    *"$password_hash"*) password=yes ;;
    *'"token"'*) password=token ;;
    *) password=other ;;
  esac
  free_mib
  if running; then
    # When this process began, whoever started it; GNU's stat, or BSD's.
    since=$(stat -c %Y "$own/notebook.pid" 2>/dev/null || stat -f %m "$own/notebook.pid" 2>/dev/null)
    reply running pid "$pid" password "$password" free_mib "$free" since "$since"
  elif [ -f "$own/notebook.pid" ]; then
    reply died password "$password" free_mib "$free" log "$(tail -n 8 "$own/notebook.log" 2>/dev/null)"
  else
    reply stopped password "$password" free_mib "$free"
  fi
}
