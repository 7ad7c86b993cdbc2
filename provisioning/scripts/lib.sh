# shellcheck shell=sh disable=SC2034,SC2154 # the scripts that follow use these variables, or set them
# What every script stands on. The parameters are set between this file and the script's own functions; `main` is called
# last, so that the shell has read everything before anything runs. Standard input goes on behind the script: it is
# descriptor 3, for what the organiser says. What the organiser hears are lines of JSON, the answers.
#
# Fifty machines may be one computer (a rehearsal), so that each process started here counts fifty times: what the shell
# can do itself it does.

set -u
umask 077

own=$HOME/.local/share/seminar            # pid, settings and log of this seat's Jupyter
runtime=$HOME/.local/share/jupyter/runtime # Jupyter's default on Linux; named, so that macOS has it there too
config=$HOME/.jupyter/jupyter_server_config.json
units=$HOME/.config/systemd/user
unit=seminar-notebook.service              # this seat's Jupyter, where systemd keeps it running
newline='
'

# json_text: standard input as a JSON string, without its quotes.
json_text() {
  LC_ALL=C tr -d '\000-\010\013-\037' | LC_ALL=C awk '
    { gsub(/\\/, "&&"); gsub(/"/, "\\\\&"); gsub(/\t/, "\\t"); printf "%s%s", separator, $0; separator = "\\n" }'
}

# reply STATE [MEMBER VALUE]...: an answer. Values are text.
reply() {
  answer="{\"state\":\"$1\""
  shift
  while [ $# -ge 2 ]; do
    case $2 in
      *[[:cntrl:]\"\\]*) quoted=$(printf '%s\n' "$2" | json_text) ;;
      *) quoted=$2 ;;
    esac
    answer="$answer,\"$1\":\"$quoted\""
    shift 2
  done
  printf '%s}\n' "$answer"
}

# fail REASON [LOG]: the answer where nothing can be done, with the last lines of a log.
fail() {
  reply failed reason "$1" log "$(tail -n 8 "${2-/dev/null}" 2>/dev/null)"
  exit 0
}

# ask NAME: ask the organiser for something; `given` then has so many bytes of it to read.
ask() {
  printf '{"asks":"%s"}\n' "$1"
  IFS= read -r given <&3 || fail "the organiser's connection broke off"
}

# slurp FILE: set content to its text. A file that can't be read has none.
slurp() {
  content=
  [ -r "$1" ] || return 0
  while IFS= read -r text_line || [ -n "$text_line" ]; do
    content=$content${content:+$newline}$text_line
  done <"$1"
}

# free_mib: set free to the MiB that are free for the home, and disk to all it has. What is mounted, and where, may have
# a space in its name; before the per cent stand all, used and free.
free_mib() {
  free=0
  disk=0
  # shellcheck disable=SC2046 # the words of df's lines
  set -- $(df -Pk "$HOME" 2>/dev/null)
  while [ $# -ge 4 ]; do
    case $4 in [0-9]*%) free=$(($3 / 1024)) disk=$(($1 / 1024)) && return ;; esac
    shift
  done
}

# make_folders FOLDER...: make what is not there, with one process. What can't be made is told where it is needed.
make_folders() {
  for folder; do
    [ -d "$folder" ] && continue
    mkdir -p "$@" 2>/dev/null
    return
  done
}

# cannot_write FOLDER: the answer where nothing can be written.
cannot_write() {
  free_mib
  fail "$1 can't be written on the machine: $free MiB are free, and its home must be writable. Free space there, then run this again"
}

# put FILE TEXT: write a file whole or not at all.
put() {
  make_folders "${1%/*}"
  if ! { printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"; } 2>/dev/null; then
    rm -f "$1.new"
    cannot_write "${1%/*}"
  fi
}

# runs PID: whether the process is there; a zombie is not. A small Linux image may have no ps.
runs() {
  if [ -d /proc/self ]; then
    IFS= read -r process 2>/dev/null <"/proc/$1/stat" || return 1
    case $process in *") Z "*) return 1 ;; esac
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
  slurp "$own/notebook.pid"
  pid=$content
  [ -n "$pid" ] && alive "$pid"
}

# managed: whether systemd keeps this seat's Jupyter running: the user's own one, where it stays when nobody is logged in.
# The machines of a rehearsal are one user's, who has one systemd at most.
managed() {
  [ -z "${SEMINAR_MACHINE-}" ] && [ -S "${XDG_RUNTIME_DIR-}/systemd/private" ] && [ -e "/var/lib/systemd/linger/$LOGNAME" ]
}

# starts_itself: whether systemd starts Jupyter when the machine does, and when it ends otherwise than by a stop.
starts_itself() {
  [ -L "$units/default.target.wants/$unit" ]
}

# end_jupyter: end it gently, then by force. Its kernels end with it.
end_jupyter() {
  # What systemd has ended is gone, and its number may be another's already; but it need not be systemd's.
  if ! { managed && systemctl --user --quiet disable --now "$unit" 2>/dev/null; } || alive "$pid"; then
    kill -TERM "$pid" 2>/dev/null
  fi
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
  make_folders "$own"
  tries=0
  refused=0
  until take_lock lock; do
    slurp "$own/lock"
    holder=$content
    tries=$((tries + 1))
    if [ -n "$holder" ] && kill -0 "$holder" 2>/dev/null; then
      [ "$tries" -gt 600 ] && fail "another run (process $holder) has been at work on this seat for a minute"
      sleep 0.1
    elif [ -n "$holder" ]; then
      free_lock
    else
      # Made this moment, and its owner is about to write; or it can't be made, or be written.
      refused=$((refused + 1))
      [ "$refused" -gt 12 ] && cannot_write "$own"
      [ -e "$own/lock" ] && sleep 0.1
      [ "$refused" -eq 6 ] && rm -rf "$own/lock"
    fi
  done
  trap 'rm -f "$own/lock"' EXIT
}

# free_lock: remove the lock of a run that is dead; one at a time, or the second would remove the lock of the first.
free_lock() {
  if take_lock lock.freed; then
    slurp "$own/lock"
    [ "$content" = "$holder" ] && rm -f "$own/lock"
    rm -f "$own/lock.freed"
  else
    slurp "$own/lock.freed"
    sleep 0.1
    [ -n "$content" ] && ! kill -0 "$content" 2>/dev/null && rm -f "$own/lock.freed"
  fi
}

# take_lock FILE: make the file with this process in it; only one of several that try succeeds.
take_lock() {
  set -C
  if { echo $$ >"$own/$1"; } 2>/dev/null; then taken=0; else taken=1; fi
  set +C
  return $taken
}

# done_alone: let the next run begin, though this one goes on.
done_alone() {
  rm -f "$own/lock"
  trap - EXIT
}

# run_program WORD...: run the Python text in `program` with the words; what the organiser says is its standard input.
# Jupyter is written in Python, so that every seat has one: the first of python3 and `pythons`.
run_program() {
  # shellcheck disable=SC2154,SC2086 # parameters; the places are words
  for python in python3 $pythons; do
    command -v "$python" >/dev/null || continue
    # Without the participant's own modules and settings.
    "$python" -I -S -c "$program" "$@" <&3 3<&-
    return
  done
  fail "the machine has no Python; install python3 there"
}
