# shellcheck shell=sh disable=SC2034 # the scripts that follow use these variables
# What every script stands on. The parameters are set between this file and the script's own functions; `main` is called
# last, so that the shell has read everything before anything runs. The last line printed is one JSON object.

set -u
umask 077

own=$HOME/.local/share/seminar            # pid, settings and log of this seat's Jupyter
runtime=$HOME/.local/share/jupyter/runtime # Jupyter's default on Linux; named, so that macOS has it there too
config=$HOME/.jupyter/jupyter_server_config.json

# json_text: standard input as a JSON string, without its quotes.
json_text() {
  LC_ALL=C tr -d '\000-\010\013-\037' | LC_ALL=C awk '
    { gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); printf "%s%s", separator, $0; separator = "\\n" }'
}

# reply STATE [MEMBER VALUE]...: the answer. Values are text.
reply() {
  printf '{"state":"%s"' "$1"
  shift
  while [ $# -ge 2 ]; do
    printf ',"%s":"%s"' "$1" "$(printf '%s\n' "$2" | json_text)"
    shift 2
  done
  printf '}\n'
}

# fail REASON [LOG]: the answer where nothing can be done, with the last lines of a log.
fail() {
  reply failed reason "$1" log "$(tail -n 8 "${2-/dev/null}" 2>/dev/null)"
  exit 0
}

# put FILE TEXT: write a file whole or not at all.
put() {
  if ! mkdir -p "${1%/*}" 2>/dev/null || ! printf '%s\n' "$2" 2>/dev/null >"$1.new" || ! mv -f "$1.new" "$1"; then
    rm -f "$1.new"
    fail "${1%/*} can't be written on the machine: $(df -Pk "$HOME" 2>/dev/null | awk 'END { print int($4 / 1024) }') MiB are free, and its home must be writable. Free space there, then run this again"
  fi
}

# runs PID: whether the process is there; a zombie is not. A small Linux image may have no ps.
runs() {
  if [ -d /proc/self ]; then
    case $(cat "/proc/$1/stat" 2>/dev/null) in '' | *") Z "*) return 1 ;; esac
  else
    case $(ps -o stat= -p "$1" 2>/dev/null) in '' | Z*) return 1 ;; esac
  fi
}

# alive PID: whether the process is there and is Jupyter; its number may have been given to another since.
alive() {
  runs "$1" || return 1
  if [ -d /proc/self ]; then
    words=$(tr '\000' ' ' 2>/dev/null <"/proc/$1/cmdline")
  else
    words=$(ps -o args= -p "$1" 2>/dev/null)
  fi
  case $words in *jupyter*) return 0 ;; *) return 1 ;; esac
}

# running: whether this seat's Jupyter runs; sets pid.
running() {
  pid=$(cat "$own/notebook.pid" 2>/dev/null)
  [ -n "$pid" ] && alive "$pid"
}

# end_jupyter: end it gently, then by force. Its kernels end with it.
end_jupyter() {
  kill -TERM "$pid" 2>/dev/null
  tries=0
  while alive "$pid"; do
    tries=$((tries + 1))
    # Jupyter gives its kernels 5 seconds.
    [ "$tries" -eq 80 ] && kill -s KILL -- "-$pid" 2>/dev/null
    [ "$tries" -ge 100 ] && fail "Jupyter (process $pid) can't be ended"
    sleep 0.1
  done
  rm -f "$own/notebook.pid" "$runtime/jpserver-$pid.json" "$runtime/jpserver-$pid-open.html"
}

# alone: one run at a time on this seat. A run that was killed leaves its lock; the next takes it over.
alone() {
  mkdir -p "$own" 2>/dev/null || fail "$own can't be made on the machine; its home must be writable"
  tries=0
  until mkdir "$own/lock" 2>/dev/null; do
    holder=$(cat "$own/lock/pid" 2>/dev/null)
    if [ -z "$holder" ] && [ "$tries" -lt 5 ]; then
      : # made this moment; its owner is about to write
    elif [ -z "$holder" ] || ! kill -0 "$holder" 2>/dev/null; then
      rm -rf "$own/lock"
      continue
    fi
    tries=$((tries + 1))
    [ "$tries" -gt 600 ] && fail "another run (process $holder) has been at work on this seat for a minute"
    sleep 0.1
  done
  echo $$ 2>/dev/null >"$own/lock/pid"
  trap 'rm -rf "$own/lock"' EXIT
}
