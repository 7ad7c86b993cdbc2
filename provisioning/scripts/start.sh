# shellcheck shell=sh disable=SC2154 # lib.sh and the parameters set them
# Start this seat's Jupyter, or leave it alone if it runs as it should.
# Parameters: candidates, pythons and environments (places of jupyter and of Python, and folders of environments that
# are kernels, a line each), requirements (of a Jupyter to install), boot_seconds, interface, workdir, port, mode
# (password or token), password_hash, seconds (how long Jupyter may take to listen), anew (yes: start it anew even if
# it seems right).

# await_boot: a machine of the cloud installs what it needs after SSH answers already.
await_boot() {
  tries=$boot_seconds
  while [ -e /run/cloud-init/enabled ] && [ ! -e /run/cloud-init/result.json ]; do
    tries=$((tries - 1))
    [ "$tries" -le 0 ] && fail "the machine still sets itself up after $boot_seconds seconds; see 'cloud-init status --long' there"
    sleep 1
  done
}

# is_old JUPYTER: whether the interface is from before jupyter_server 2. Such a one has other options and looks for the
# password elsewhere, so that it would start and let nobody in. What is installed says so, without starting anything.
# Sets too_old, for people.
too_old=
is_old() {
  place=$1
  [ -L "$place" ] && place=$(readlink -f "$place")
  place=${place%/bin/*}
  case $interface in
    lab) set -- "$place"/lib/python3*/*-packages/jupyterlab-[0-3].* ;;
    *) set -- "$place"/lib/python3*/*-packages/notebook-[0-6].* ;;
  esac
  [ -e "$1" ] && too_old=" (its own is too old: ${1##*/})"
}

# register_kernels: the image's environments that have a kernel, as kernels of this seat's, whichever Jupyter runs.
register_kernels() {
  while IFS= read -r folder; do
    for environment in "${folder:-/dev/null}"/*; do
      name=${environment##*/}
      set -- "$environment"/lib/python3*/site-packages/ipykernel/kernelapp.py
      case $name in *[!A-Za-z0-9._-]*) continue ;; esac # what Jupyter takes as a name
      if [ ! -x "$environment/bin/python" ] || [ ! -e "$1" ]; then continue; fi
      spec=$HOME/.local/share/jupyter/kernels/$name/kernel.json
      told="{\"argv\": [\"$environment/bin/python\", \"-m\", \"ipykernel_launcher\", \"-f\", \"{connection_file}\"],
 \"display_name\": \"Python ($name)\", \"language\": \"python\"}"
      [ "$(cat "$spec" 2>/dev/null)" = "$told" ] || put "$spec" "$told"
    done
  done <<EOF
${SEMINAR_ENVIRONMENTS-}
$environments
EOF
}

# find_jupyter: the first candidate that has the interface; sets jupyter. What was installed whole has a mark.
find_jupyter() {
  own_jupyter=
  [ -e "$own/jupyter/whole" ] && own_jupyter=$own/jupyter/bin/jupyter
  while IFS= read -r candidate; do
    if [ -n "$candidate" ] && [ -x "$candidate-$interface" ] && ! is_old "$candidate"; then
      jupyter=$candidate
      return 0
    fi
  done <<EOF
${SEMINAR_JUPYTER-}
$candidates
$own_jupyter
$(command -v jupyter)
EOF
  return 1
}

# find_python: the first that is new enough and can make a virtual environment; sets python.
find_python() {
  while IFS= read -r candidate; do
    if "${candidate:-false}" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      python=$candidate
      return 0
    fi
  done <<EOF
${SEMINAR_PYTHON-}
$pythons
EOF
  return 1
}

# install_jupyter: a pinned one in an environment of the seat's own, on the image's Python, whose packages stay in
# sight: its torch is there in the default kernel. Sets jupyter.
install_jupyter() {
  find_python || fail "no jupyter with '$interface' was found on the machine$too_old, nor a Python 3.10 that could install one; install python3-venv there"
  log=$own/install.log
  rm -rf "$own/jupyter"
  put "$own/requirements.txt" "$requirements"
  if ! "$python" -m venv "$own/jupyter" >"$log" 2>&1 ||
    ! "$own/jupyter/bin/python" -m pip install --quiet --no-input --no-cache-dir -r "$own/requirements.txt" >>"$log" 2>&1 ||
    ! theirs=$("$python" -c 'import site; print("\n".join(site.getsitepackages()))' 2>>"$log") ||
    ! ours=$("$own/jupyter/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>>"$log"); then
    rm -rf "$own/jupyter"
    fail "the machine has no jupyter with '$interface'$too_old and none could be installed: it needs the Internet and 1 GiB of disk" "$log"
  fi
  put "$ours/image.pth" "$theirs"
  put "$own/jupyter/whole" "$python"
  jupyter=$own/jupyter/bin/jupyter
}

# detached COMMAND...: in a session of its own, so that it outlives this connection and can be ended as a whole.
detached() {
  if command -v setsid >/dev/null; then
    exec setsid "$@"
  fi
  exec perl -MPOSIX -e 'POSIX::setsid(); exec @ARGV or exit 127' "$@"
}

# settings_now: everything that a change of makes Jupyter start anew. Sets wanted and text.
settings_now() {
  if [ "$mode" = token ]; then
    case $(cat "$config" 2>/dev/null) in
      *'"token"'*) text=$(cat "$config") ;; # a token lives until a password takes its place
      *)
        token=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
        text="{\"IdentityProvider\": {\"token\": \"$token\"}}"
        ;;
    esac
  else
    # As `jupyter server password` writes it, and with password_required Jupyter would rather end than do without.
    text="{\"PasswordIdentityProvider\": {\"hashed_password\": \"$password_hash\", \"password_required\": true}}"
  fi
  wanted="$jupyter $interface $port $workdir $text"
}

launch() {
  as_root=
  [ "$(id -u)" = 0 ] && as_root=--allow-root
  umask 022 # the participant's files are made as everywhere
  # shellcheck disable=SC2086 # empty for everyone but root
  JUPYTER_RUNTIME_DIR=$runtime detached "$jupyter" "$interface" --no-browser --port="$port" $as_root \
    --ServerApp.ip=127.0.0.1 --ServerApp.port_retries=0 --ServerApp.root_dir="$HOME/$workdir" \
    </dev/null >"$own/notebook.log" 2>&1
}

# tell_why_it_ended: the reason in Jupyter's own log, as a sentence where it is a known one.
tell_why_it_ended() {
  if grep -q "port $port is not available" "$own/notebook.log" 2>/dev/null; then
    fail "port $port on the machine is held by another program; end that program, or set seminar:notebook-port"
  fi
  fail "Jupyter ended at once; its log says why" "$own/notebook.log"
}

await_listening() {
  tries=$((seconds * 5))
  # Jupyter writes this file once it listens.
  until [ -s "$runtime/jpserver-$pid.json" ]; do
    if ! runs "$pid"; then
      rm -f "$own/notebook.pid"
      tell_why_it_ended
    fi
    tries=$((tries - 1))
    [ "$tries" -le 0 ] && fail "Jupyter did not begin to listen within $seconds seconds" "$own/notebook.log"
    sleep 0.2
  done
}

main() {
  alone
  await_boot
  find_jupyter || install_jupyter
  register_kernels
  settings_now
  if ! mkdir -p "$HOME/$workdir" 2>/dev/null || ! cd "$HOME/$workdir" 2>/dev/null; then
    fail "the working directory $workdir can't be made; something else has that name, or the disk is full"
  fi
  state=changed
  if running; then
    if [ "$anew" = no ] && [ "$(cat "$own/settings" 2>/dev/null)" = "$wanted" ]; then
      state=unchanged
    else
      end_jupyter
    fi
  fi
  [ "$(cat "$config" 2>/dev/null)" = "$text" ] || put "$config" "$text"
  if [ "$state" = changed ]; then
    mkdir -p "$runtime" 2>/dev/null || fail "$runtime can't be made on the machine; its disk may be full"
    rm -f "$own/settings"
    launch &
    pid=$!
    put "$own/notebook.pid" "$pid"
    await_listening
    put "$own/since" "$(date -u +%Y-%m-%dT%H:%MZ)"
    put "$own/settings" "$wanted" # last: a start that was cut short is done anew
  fi
  token=
  [ "$mode" = token ] && token=$(printf '%s\n' "$text" | sed 's/.*"token": "\([^"]*\)".*/\1/')
  reply "$state" pid "$pid" token "$token"
}
