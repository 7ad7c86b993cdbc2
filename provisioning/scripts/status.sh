# shellcheck shell=sh disable=SC2154 # lib.sh and the parameters set them
# How this seat is. Changes nothing. Parameter: password_hash, the one that the stack made.
# After its answer it listens: for each line it looks again.

# process PID: set program and parent from its line in /proc; the program's name may have anything in it.
process() {
  IFS= read -r line 2>/dev/null <"/proc/$1/stat" || return 1
  program=${line#*\(}
  program=${program%)*}
  # shellcheck disable=SC2086 # state, parent, …
  set -- ${line##*) }
  parent=$2
}

# title PID: set title to how it calls itself. Behind it are zero bytes, or what some shells make of them.
title() {
  title=
  IFS= read -r title 2>/dev/null <"/proc/$1/cmdline"
}

# count_tunnels: set tunnels to the SSH connections without a command that this user has open. OpenSSH calls one that
# only forwards "sshd: USER", one with a terminal "sshd: USER@pts/1" and one that runs a command, such as this, "sshd:
# USER@notty"; since 9.8 they are sshd-session. Where one sshd serves just this seat (a rehearsal), it is the parent.
count_tunnels() {
  tunnels=
  [ -d /proc/self ] || return 0
  parent=$$
  program=
  until [ "$program" = sshd ] || [ "$program" = sshd-session ]; do
    process "$parent" || return 0
  done
  mine=$parent
  tunnels=0
  for folder in /proc/[0-9]*; do
    process "${folder#/proc/}" || continue
    case $program in sshd | sshd-session) ;; *) continue ;; esac
    title "${folder#/proc/}"
    case $title in "$program: $LOGNAME" | "$program: $LOGNAME@pts/"*) ;; *) continue ;; esac
    if [ "$parent" != "$mine" ]; then
      title "$parent"
      case $title in *'[priv]'*) ;; *) continue ;; esac
    fi
    tunnels=$((tunnels + 1))
  done
}

# read_memory: set memory and memory_free, MiB of the whole machine.
read_memory() {
  memory=
  memory_free=
  while read -r key value _; do
    case $key in
      MemTotal:) memory=$((value / 1024)) ;;
      MemAvailable:) memory_free=$((value / 1024)) && return ;;
    esac
  done 2>/dev/null </proc/meminfo
}

# read_gpus: set gpus to a line each: per cent at work, MiB used, MiB of all. A broken driver may let it hang.
read_gpus() {
  gpus=
  command -v nvidia-smi >/dev/null || return 0
  gpus=$(timeout 10 nvidia-smi --query-gpu=utilization.gpu,memory.used,memory.total --format=csv,noheader,nounits 2>/dev/null)
}

# look: the answer.
look() {
  slurp "$config"
  token=
  case $content in
    '') password=no ;;
    *"$password_hash"*) password=yes ;;
    *'"token": "'*) password=token token=${content#*'"token": "'} token=${token%%'"'*} ;;
    *) password=other ;;
  esac
  free_mib
  count_tunnels
  read_memory
  read_gpus
  set -- password "$password" free_mib "$free" disk_mib "$disk" memory_free_mib "$memory_free" memory_mib "$memory" \
    tunnels "$tunnels" gpus "$gpus"
  if running; then
    # When this process began, whoever started it; GNU's stat, or BSD's.
    since=$(stat -c %Y "$own/notebook.pid" 2>/dev/null || stat -f %m "$own/notebook.pid" 2>/dev/null)
    reply running "$@" pid "$pid" since "$since" token "$token"
  elif [ -f "$own/notebook.pid" ]; then
    reply died "$@" log "$(tail -n 8 "$own/notebook.log" 2>/dev/null)"
  else
    reply stopped "$@"
  fi
}

main() {
  exec 3<&0 </dev/null
  look
  while IFS= read -r _ <&3; do look; done
}
