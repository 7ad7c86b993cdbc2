#!/bin/sh
# Open this seat's notebook in the browser, through SSH. macOS and Linux: sh connect.sh; `sh check.sh` tries it only.
# Everything that must be known is in this folder; nothing of this computer's own SSH set-up has a say.
set -u

seat='@SEMINAR@ @ID@'
host='@HOST@'
user='@USER@'
ssh_ports='@SSH_PORTS@'
notebook_port='@NOTEBOOK_PORT@'
first_port='@LOCAL_PORT@'
pause_seconds=5
patience_seconds=20

say() { printf '%s\n' "$*"; }

main() {
  mode=${1:-connect}
  folder=$(cd "$(dirname "$0")" && pwd) || exit 1
  for file in id_ed25519 known_hosts ssh_config; do
    [ -f "$folder/$file" ] ||
      stop "$file is missing beside this script: unpack the whole zip first, then start it from there."
  done
  ssh='' probe='' work=''
  trap clean EXIT
  trap 'exit 129' HUP
  trap 'exit 143' TERM
  trap 'say; say "Closed. The notebook goes on; start this again to come back."; exit 0' INT
  # ssh refuses a key that others may read, and on a USB stick or a shared folder that can't be mended: so, a copy.
  work=$(mktemp -d "${TMPDIR:-/tmp}/seminar.XXXXXX") || stop "There is no room for a temporary folder."
  cp "$folder/id_ed25519" "$folder/known_hosts" "$folder/ssh_config" "$work/" ||
    stop "The key can't be copied to $work."
  cd "$work" || exit 1
  chmod 600 id_ed25519
  command -v ssh >/dev/null || {
    [ "$mode" = check ] && result "NOT ready: there is no ssh on this computer"
    stop "There is no ssh on this computer. Install the package openssh-client (Debian, Ubuntu) or openssh (others)."
  }
  if [ "$mode" = check ]; then check; else connect; fi
}

stop() {
  say "$*" >&2
  exit 1
}

clean() {
  [ -z "$probe" ] || kill "$probe" 2>/dev/null
  [ -z "$ssh" ] || kill "$ssh" 2>/dev/null
  [ -z "$work" ] || rm -rf "$work"
}

check() {
  say "Checking the way to $host. This takes a few seconds …"
  version=$(ssh -V 2>&1)
  find_way
  case $found in
    answers) result "ready: ${version%%,*}, port $port open, host key right, the notebook answers" ;;
    *) result "NOT ready: ${version%%,*}; $told" ;;
  esac
}

result() {
  say "Please send this line to the organiser:"
  say "$seat $*"
  case $1 in ready:*) exit 0 ;; *) exit 1 ;; esac
}

connect() {
  local_port=''
  opened=''
  say "Connecting to $host …"
  while :; do
    find_way
    case $found in
      wrong-key | refused) stop "Stopped: $told" ;;
      answers) tunnel ;;
    esac
    count_down
  done
}

# find_way: the SSH port through which the notebook answers, in $port; else in $found and $told what stands in the way.
find_way() {
  told=''
  for port in $ssh_ports; do
    probe_port
    case $found in
      answers)
        ssh_ports="$port $(printf '%s\n' "$ssh_ports" | tr ' ' '\n' | grep -vx "$port" | tr '\n' ' ')"
        return
        ;;
      wrong-key)
        told="the machine at $host port $port did not show the host key of this pack. \
Someone may be in between: use another network, and tell the organiser."
        return
        ;;
      refused)
        told="the machine does not accept the key of this pack. Ask the organiser for a new pack."
        return
        ;;
      silent)
        told="the machine is reached through port $port, and the notebook on it does not answer. Tell the organiser."
        return
        ;;
    esac
    told="${told}port $port: $reason; "
  done
  told="$host can't be reached (${told%; }). Is this computer online? \
Else this network may block it, or the machine is off."
}

# probe_port: ask the notebook for its version, straight through an SSH connection to $port, without a local port.
probe_port() {
  # Through a pipe that stays open: Jupyter does not answer who has hung up already.
  rm -f request
  mkfifo -m 600 request
  exec 3<>request
  printf 'GET /api HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
  ssh -F ssh_config -p "$port" -o ConnectTimeout=8 -W "127.0.0.1:$notebook_port" "$user@$host" \
    <request >answer 2>log 3>&- &
  probe=$!
  waited=0
  while kill -0 "$probe" 2>/dev/null && ! grep -q '"version"' answer; do
    [ "$waited" -lt "$patience_seconds" ] || break
    sleep 1
    waited=$((waited + 1))
  done
  kill "$probe" 2>/dev/null
  wait "$probe" 2>/dev/null
  probe=''
  exec 3>&-
  reason=$(tail -n 1 log | tr -d '\r')
  reason=${reason:-no answer within $patience_seconds s}
  reason=${reason##*: }
  if grep -q '"version"' answer; then
    found=answers
  elif grep -Eq 'Host key verification failed|IDENTIFICATION HAS CHANGED' log; then
    found=wrong-key
  elif grep -q 'Permission denied' log; then
    found=refused
  elif grep -Eq 'open failed|forwarding failed' log || [ -s answer ]; then
    found=silent
  else
    found=unreachable
  fi
}

# tunnel: hold the tunnel until it ends. The browser opens once, when the notebook answers through it.
tunnel() {
  [ -n "$local_port" ] || choose_local_port
  while :; do
    # Not `localhost`: of its two addresses ssh is content with one, and the other may be another program's.
    ssh -F ssh_config -p "$port" -o ConnectTimeout=8 -N -L "127.0.0.1:$local_port:127.0.0.1:$notebook_port" \
      "$user@$host" </dev/null >/dev/null 2>log &
    ssh=$!
    waited=0
    while kill -0 "$ssh" 2>/dev/null && [ "$waited" -lt "$patience_seconds" ]; do
      fetch "http://localhost:$local_port/api" && break
      sleep 1
      waited=$((waited + 1))
    done
    kill -0 "$ssh" 2>/dev/null && break
    grep -Eq 'in use|cannot listen' log || break
    if [ -n "$opened" ]; then # the page that is open looks for this port and no other
      told="the local port $local_port was taken by another program. Close it;"
      return
    fi
    local_port=$((local_port + 1))
    choose_local_port
  done
  if kill -0 "$ssh" 2>/dev/null; then
    say "Connected. Your notebook: http://localhost:$local_port   (leave this window open; Ctrl-C ends)"
    [ -n "$opened" ] || browse "http://localhost:$local_port"
    opened=yes
  fi
  wait "$ssh" 2>/dev/null
  ssh=''
  told="the connection dropped."
}

# choose_local_port: the first port from $first_port (or where this was called before) at which nothing answers.
choose_local_port() {
  local_port=${local_port:-$first_port}
  while is_taken "http://localhost:$local_port/"; do
    say "Port $local_port of this computer is taken (another Jupyter?), trying the next one."
    local_port=$((local_port + 1))
  done
}

# is_taken URL: whether anything listens there, on IPv4 or IPv6. Where neither program is at hand, ssh will say.
is_taken() {
  if command -v curl >/dev/null; then
    curl -s -o /dev/null --noproxy '*' --max-time 5 "$1"
    [ $? -ne 7 ]
  elif command -v wget >/dev/null; then
    wget -q -O /dev/null --no-proxy --tries=1 --timeout=5 "$1"
    case $? in 0 | 6 | 8) return 0 ;; *) return 1 ;; esac
  else
    return 1
  fi
}

# fetch URL: whether it is answered. Without a program to ask with, a moment must do: the notebook was asked before.
fetch() {
  if command -v curl >/dev/null; then
    curl -sf -o /dev/null --noproxy '*' --max-time 5 "$1"
  elif command -v wget >/dev/null; then
    wget -q -O /dev/null --no-proxy --tries=1 --timeout=5 "$1"
  else
    sleep 2
    kill -0 "$ssh" 2>/dev/null
  fi
}

browse() {
  for opener in open xdg-open wslview; do
    [ "$opener" = open ] && [ "$(uname)" != Darwin ] && continue # elsewhere `open` is another program
    if command -v "$opener" >/dev/null; then
      "$opener" "$1" </dev/null >/dev/null 2>&1 &
      return
    fi
  done
  say "Open that address in your browser."
}

count_down() {
  say "Not connected: $told"
  left=$pause_seconds
  while [ "$left" -gt 0 ]; do
    if [ -t 1 ]; then
      printf '\rTrying again in %s s (Ctrl-C ends) ' "$left"
    else
      say "Trying again in $left s"
    fi
    sleep 1
    left=$((left - 1))
  done
  [ ! -t 1 ] || printf '\r\033[K'
}

main "$@"
