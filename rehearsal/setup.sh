#!/bin/sh
# Make .venv and install what is asked for: setup.sh REQUIREMENTS... [--sshd] [--test-tools] [--machine].
# Does nothing where all is there already.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

# as_root COMMAND...: where this user may; else say which package is missing, in $missing.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo "$@"
  else
    echo "$missing" >&2
    exit 2
  fi
}

apt_install() {
  if ! command -v apt-get >/dev/null; then
    echo "$missing" >&2
    exit 2
  fi
  echo "Installing $* …"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || {
    as_root apt-get update -qq >/dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  }
}

make_venv() {
  command -v "$python" >/dev/null || { echo "There is no python3; install Python 3.10 or newer." >&2; exit 2; }
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "$python is $("$python" -c 'import platform; print(platform.python_version())'); expected 3.10 or newer. Set PYTHON=/path/to/one." >&2
    exit 2
  }
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing="$python can't make virtual environments; install python3-venv (Debian, Ubuntu)."
    apt_install python3-venv
  fi
  "$python" -m venv .venv
}

# The distribution starts its own sshd on port 22 when the package comes in; a rehearsal must open nothing.
install_sshd() {
  missing="No OpenSSH server was found; install openssh-server (Debian, Ubuntu, Fedora), then run this again."
  guard=/usr/sbin/policy-rc.d
  if [ -e "$guard" ]; then
    apt_install openssh-server
  else
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$guard; chmod 755 $guard"
    trap 'as_root rm -f "$guard"' EXIT
    trap 'exit 130' INT TERM
    apt_install openssh-server
    as_root rm -f "$guard"
    trap - EXIT INT TERM
  fi
  if [ -d /run/systemd/system ]; then
    as_root systemctl disable --now ssh.service ssh.socket >/dev/null 2>&1 || true
  fi
  echo "Installed openssh-server for the rehearsal; its own service is off, so port 22 stays closed."
}

# The participants' own programs, for the tests alone. Where they can't be had, those tests skip and say so.
install_test_tools() {
  packages=
  for each in chromium:chromium chromedriver:chromium-driver plink:putty-tools unzip:unzip wine:wine; do
    command -v "${each%%:*}" >/dev/null || packages="$packages ${each#*:}"
  done
  [ -n "$packages" ] || return 0
  missing="Some tests will skip; they need$packages."
  # shellcheck disable=SC2086 # a list of packages
  (apt_install $packages) || echo "$missing" >&2
}

# What makes and boots the virtual machines of `make test-machine`.
install_machine_tools() {
  packages=
  for each in debootstrap:debootstrap mkfs.ext4:e2fsprogs qemu-system-x86_64:qemu-system-x86; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${each%%:*}" >/dev/null || packages="$packages ${each#*:}"
  done
  missing="Virtual machines need$packages (Debian)."
  # shellcheck disable=SC2086 # a list of packages
  [ -z "$packages" ] || apt_install $packages
}

mkdir -p -m 700 .seminar
files=
for word; do case $word in --*) ;; *) files="$files $word" ;; esac; done
# A venv that was half made when it was interrupted has no mark.
# shellcheck disable=SC2086 # a list of files
wanted=$(cat "$0" $files)
mark=.venv/installed$(printf '%s' "$files" | tr -c 'a-z.-' '_')
if [ ! -x .venv/bin/python ] || [ "$(cat "$mark" 2>/dev/null)" != "$wanted" ]; then
  echo "Installing into .venv …"
  [ -x .venv/bin/pip ] || make_venv
  # shellcheck disable=SC2046,SC2086 # lists of files and of options
  .venv/bin/python -m pip install --quiet --disable-pip-version-check $(printf -- ' -r %s' $files)
  printf '%s\n' "$wanted" >"$mark"
fi
for word; do
  [ "$word" != --test-tools ] || install_test_tools
  [ "$word" != --machine ] || install_machine_tools
  if [ "$word" = --sshd ]; then
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v sshd >/dev/null || install_sshd
    command -v ssh >/dev/null || { missing="There is no ssh; install openssh-client."; apt_install openssh-client; }
  fi
done
