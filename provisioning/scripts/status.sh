# shellcheck shell=sh disable=SC2154 # lib.sh and the parameters set them
# How this seat's Jupyter is. Changes nothing. Parameter: password_hash, the one that the stack made.

main() {
  password=no
  if [ -f "$config" ]; then
    case $(cat "$config") in
      *"$password_hash"*) password=yes ;;
      *'"token"'*) password=token ;;
      *) password=other ;;
    esac
  fi
  free=$(df -Pk "$HOME" | awk 'END { print int($4 / 1024) }')
  if running; then
    reply running pid "$pid" password "$password" free_mib "$free" since "$(cat "$own/since" 2>/dev/null)"
  elif [ -f "$own/notebook.pid" ]; then
    reply died password "$password" free_mib "$free" log "$(tail -n 8 "$own/notebook.log" 2>/dev/null)"
  else
    reply stopped password "$password" free_mib "$free"
  fi
}
