# shellcheck shell=sh disable=SC2154 # lib.sh and the parameters set them
# Lay the class materials and start this seat's Jupyter, or leave alone what is as it should be.
# Parameters: materials (the version that should lie there, "" for none), git_url (where they are fetched, "" where the
# organiser sends them), candidates, pythons and environments (places of jupyter and of Python, and folders of
# environments that are kernels, a line each), boot_seconds, interface, workdir, port, mode (password, token or as it is),
# password_hash, seconds (how long Jupyter may take to listen), only_running (yes: leave a stopped one stopped), anew
# (yes: start one anew that is as it should be).
# It asks for `materials`, an archive, and for `requirements`, of a Jupyter to install. After its answer it listens: on
# the word `anew` it starts Jupyter anew and answers again.

# await_boot: a machine of the cloud installs what it needs after SSH answers already.
await_boot() {
  tries=$boot_seconds
  while [ -e /run/cloud-init/enabled ] && [ ! -e /run/cloud-init/result.json ]; do
    tries=$((tries - 1))
    [ "$tries" -le 0 ] && fail "the machine still sets itself up after $boot_seconds seconds; see 'cloud-init status --long' there"
    sleep 1
  done
}

# lay_materials: a file that is already there is the participant's and stays. Sets laid.
lay_materials() {
  laid=no
  slurp "$own/materials.id"
  if [ -z "$materials" ] || [ "$content" = "$materials" ]; then return; fi
  rm -rf "$own/materials"
  if [ -n "$git_url" ]; then
    command -v git >/dev/null || fail "the materials are a git URL and the machine has no git; install it, or use a folder"
    GIT_TERMINAL_PROMPT=0 git -c http.lowSpeedLimit=1000 -c http.lowSpeedTime=60 clone --quiet --depth 1 "$git_url" "$own/materials" 2>"$own/materials.log" ||
      fail "git can't fetch the materials from $git_url" "$own/materials.log"
  else
    make_folders "$own/materials"
    ask materials
    head -c "$given" <&3 | tar -xmzf - -C "$own/materials" 2>"$own/materials.log" ||
      fail "the materials can't be unpacked on the machine; its disk may be full" "$own/materials.log"
  fi
  [ -d "$HOME/$workdir" ] || fail "the working directory $workdir can't be made; something else has that name"
  cd "$own/materials" || fail "the unpacked materials vanished"
  record_materials
  umask 022
  target=$HOME/$workdir find . -type d -exec sh -c 'for d; do mkdir -p "$target/$d" || exit 1; done' sh {} + ||
    fail "the materials can't be laid into $workdir; its disk may be full"
  target=$HOME/$workdir find . ! -type d -exec sh -c '
    for f; do [ -e "$target/$f" ] || [ -L "$target/$f" ] || { mv "$f" "$target/$f.new" && mv "$target/$f.new" "$target/$f"; } ||
      { rm -f "$target/$f.new"; exit 1; }; done' sh {} + ||
    fail "the materials can't be laid into $workdir; its disk may be full"
  cd "$HOME" || exit 1
  rm -rf "$own/materials"
  umask 077
  put "$own/materials.id" "$materials"
  laid=yes
}

# record_materials: remember what the organiser gives, so that it is known again where nobody changed it: `fab push` may
# then replace it, and `fab collect` leave it out. Without a record it counts as the participant's.
record_materials() {
  if command -v sha256sum >/dev/null; then sum=sha256sum; else sum='shasum -a 256'; fi
  # shellcheck disable=SC2086 # words
  find . -path ./.git -prune -o -type f -exec $sum {} + >>"$own/put" 2>/dev/null
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
  IFS=$newline
  set -f
  for folder in ${SEMINAR_ENVIRONMENTS-} $environments; do
    unset IFS
    set +f
    for environment in "$folder"/*; do
      name=${environment##*/}
      set -- "$environment"/lib/python3*/site-packages/ipykernel/kernelapp.py
      case $name in *[!A-Za-z0-9._-]*) continue ;; esac # what Jupyter takes as a name
      if [ ! -x "$environment/bin/python" ] || [ ! -e "$1" ]; then continue; fi
      spec=$HOME/.local/share/jupyter/kernels/$name/kernel.json
      told="{\"argv\": [\"$environment/bin/python\", \"-m\", \"ipykernel_launcher\", \"-f\", \"{connection_file}\"],
  \"display_name\": \"Python ($name)\", \"language\": \"python\"}"
      slurp "$spec"
      [ "$content" = "$told" ] || put "$spec" "$told"
    done
  done
  unset IFS
  set +f
}

# find_jupyter: the first candidate that has the interface; sets jupyter. What was installed whole has a mark.
find_jupyter() {
  IFS=$newline
  set -f # the names are taken as they stand
  for jupyter in ${SEMINAR_JUPYTER-} $candidates "$own/jupyter/bin/jupyter" ''; do
    unset IFS
    set +f
    case $jupyter in
      "$own"/*) [ -e "$own/jupyter/whole" ] || continue ;;
      '') jupyter=$(command -v jupyter) ;;
    esac
    [ -n "$jupyter" ] && [ -x "$jupyter-$interface" ] && ! is_old "$jupyter" && return
  done
  return 1
}

# find_python: the first that is new enough and can make a virtual environment; sets python.
find_python() {
  IFS=$newline
  set -f
  for python in ${SEMINAR_PYTHON-} $pythons ''; do
    "${python:-false}" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && break
  done
  unset IFS
  set +f
  [ -n "$python" ]
}

# install_jupyter: a pinned one in an environment of the seat's own, on the image's Python, whose packages stay in
# sight: its torch is there in the default kernel. Sets jupyter.
install_jupyter() {
  find_python || fail "no jupyter with '$interface' was found on the machine$too_old, nor a Python 3.10 that could install one; install python3-venv there"
  log=$own/install.log
  rm -rf "$own/jupyter"
  ask requirements
  put "$own/requirements.txt" "$(head -c "$given" <&3)"
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
  slurp "$config"
  if [ "$mode" = 'as it is' ]; then
    case $content in *'"token"'*) mode=token ;; *) mode=password ;; esac
  fi
  if [ "$mode" = token ]; then
    case $content in
      *'"token"'*) text=$content ;; # a token lives until a password takes its place
      *)
        token=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
        text="{\"IdentityProvider\": {\"token\": \"$token\"}}"
        ;;
    esac
  else
    # As `jupyter server password` writes it, and with password_required Jupyter would rather end than do without.
    text="{\"PasswordIdentityProvider\": {\"hashed_password\": \"$password_hash\", \"password_required\": true}}"
  fi
  [ "$content" = "$text" ] && configured=yes || configured=no
  wanted="$jupyter $interface $port $workdir $text"
}

# as_wanted: whether the Jupyter that runs was started whole with these settings. Their first line is its number, or the
# unit: systemd starts the same under other numbers.
as_wanted() {
  mark=$pid
  managed && mark=$unit
  slurp "$own/settings"
  [ "$content" = "$mark$newline$wanted" ]
}

# launch: start Jupyter; sets pid, and the mark of the settings.
launch() {
  { :; } 2>/dev/null >"$own/notebook.log" || cannot_write "$own"
  as_root=
  [ "${LOGNAME-}" = root ] && as_root=--allow-root
  # As `jupyter notebook` does it, without the Python that it starts in between.
  # shellcheck disable=SC2086 # empty for everyone but root
  set -- "$jupyter-$interface" --no-browser --port="$port" $as_root \
    --ServerApp.ip=127.0.0.1 --ServerApp.port_retries=0 --ServerApp.root_dir="$HOME/$workdir"
  if managed; then
    start_unit "$@"
    return
  fi
  (umask 022 && JUPYTER_RUNTIME_DIR=$runtime detached "$@" </dev/null >"$own/notebook.log" 2>&1 3<&-) &
  pid=$!
  mark=$pid
  if ! echo "$pid" 2>/dev/null >"$own/notebook.pid"; then
    kill -TERM "$pid"
    cannot_write "$own"
  fi
}

# start_unit COMMAND...: have the user's systemd run it, from now on and after each start of the machine.
start_unit() {
  put "$units/$unit" "$(unit_text "$@")"
  { :; } 2>/dev/null >"$own/settings" || cannot_write "$own"
  mark=$unit
  { systemctl --user --quiet enable "$unit" && systemctl --user restart "$unit"; } 2>"$own/systemd.log" ||
    fail "the machine's systemd can't start Jupyter; 'systemctl --user status $unit' there says more" "$own/systemd.log"
  pid=$(systemctl --user show --property=MainPID --value "$unit")
}

# unit_text COMMAND...: the unit. It has no secret, and the login's PATH, with which kernels find what the image has.
# However often Jupyter ends it is started again. A kernel that takes up all memory ends alone, and no kernel outlives
# its Jupyter. The umask is as everywhere.
unit_text() {
  cat <<'TEXT'
[Unit]
Description=Jupyter of this seat
StartLimitIntervalSec=0
[Service]
Type=exec
Environment=JUPYTER_RUNTIME_DIR=%h/.local/share/jupyter/runtime
UMask=0022
StandardOutput=append:%h/.local/share/seminar/notebook.log
StandardError=inherit
Restart=always
RestartSec=2
OOMPolicy=continue
KillMode=mixed
TimeoutStopSec=10
ExecStart=:/bin/sh -c 'echo $$ >"$HOME/.local/share/seminar/notebook.pid"; PATH=$1; cd "$2" && shift 2 && exec "$@"' sh \
TEXT
  printf '%s\n' "$PATH" "$HOME/$workdir" "$@" | sed 's/[\\"]/\\&/g; s/%/%%/g; s/.*/  "&"/; $!s/$/ \\/'
  printf '[Install]\nWantedBy=default.target\n'
}

# tell_why_it_ended: the reason in Jupyter's own log, as a sentence where it is a known one.
tell_why_it_ended() {
  if grep -q "port $port is not available" "$own/notebook.log" 2>/dev/null; then
    fail "port $port on the machine is held by another program; end that program, or set seminar:notebook-port"
  fi
  if grep -q 'No space left on device' "$own/notebook.log" 2>/dev/null; then
    cannot_write "$HOME"
  fi
  fail "Jupyter ended at once; its log says why" "$own/notebook.log"
}

await_listening() {
  tries=$((seconds * 10))
  pause=0.05
  # Jupyter writes this file once it listens.
  until [ -s "$runtime/jpserver-$pid.json" ]; do
    if ! runs "$pid"; then
      end_jupyter
      tell_why_it_ended
    fi
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
      end_jupyter
      fail "Jupyter did not begin to listen within $seconds seconds" "$own/notebook.log"
    fi
    sleep "$pause"
    pause=0.1
  done
}

# start ANEW: see to it that Jupyter runs with these settings; `yes` even if it does. Sets state.
start() {
  state=changed
  # First: where it can't be written, because the disk is full, what runs goes on.
  [ "$configured" = yes ] || put "$config" "$text"
  if running; then
    if [ "$1" = no ] && as_wanted; then
      state=unchanged
      return 0
    fi
    end_jupyter
  fi
  launch
  await_listening
  # Last: a start that was cut short has no settings of this process and is done anew.
  printf '%s\n' "$mark" "$wanted" 2>/dev/null >"$own/settings" || cannot_write "$own"
}

main() {
  exec 3<&0 </dev/null
  make_folders "$own" "$runtime" "${config%/*}" "$HOME/$workdir"
  alone
  if [ "$only_running" = yes ] && ! running && ! starts_itself; then
    reply stopped
    return
  fi
  await_boot
  lay_materials
  find_jupyter || install_jupyter
  register_kernels
  settings_now
  cd "$HOME/$workdir" 2>/dev/null || fail "the working directory $workdir can't be made; something else has that name, or the disk is full"
  while :; do
    start "$anew"
    token=
    [ "$mode" = token ] && token=$(printf '%s\n' "$text" | sed 's/.*"token": "\([^"]*\)".*/\1/')
    reply "$state" pid "$pid" token "$token" laid "$laid"
    done_alone
    IFS= read -r anew <&3 || return 0
    alone
    anew=yes
  done
}
