# shellcheck shell=sh disable=SC2154 # lib.sh and the parameters set them
# Lay the class materials into the working directory. A file that is already there is the participant's and stays.
# Parameters: step (ask, lay), id (of this version), workdir, git_url ("" where an archive was sent to $own/materials.tar.gz).

unpack() {
  if [ -n "$git_url" ]; then
    command -v git >/dev/null || fail "the materials are a git URL and the machine has no git; install it, or use a folder"
    GIT_TERMINAL_PROMPT=0 git clone --quiet --depth 1 "$git_url" "$own/materials" 2>"$own/materials.log" ||
      fail "git can't fetch the materials from $git_url" "$own/materials.log"
  else
    mkdir "$own/materials"
    tar -xmzf "$own/materials.tar.gz" -C "$own/materials" 2>"$own/materials.log" ||
      fail "the materials can't be unpacked on the machine; its disk may be full" "$own/materials.log"
  fi
}

main() {
  if [ "$(cat "$own/materials.id" 2>/dev/null)" = "$id" ]; then
    reply unchanged
    return
  fi
  if [ "$step" = ask ]; then
    mkdir -p "$own" 2>/dev/null || fail "$own can't be made on the machine; its home must be writable"
    reply wanted
    return
  fi
  alone
  rm -rf "$own/materials"
  unpack
  umask 022
  mkdir -p "$HOME/$workdir" 2>/dev/null || fail "the working directory $workdir can't be made; something else has that name"
  cd "$own/materials" || fail "the unpacked materials vanished"
  target=$HOME/$workdir find . -type d -exec sh -c 'for d; do mkdir -p "$target/$d" || exit 1; done' sh {} + ||
    fail "the materials can't be laid into $workdir; its disk may be full"
  target=$HOME/$workdir find . ! -type d -exec sh -c '
    for f; do [ -e "$target/$f" ] || [ -L "$target/$f" ] || mv "$f" "$target/$f" || exit 1; done' sh {} + ||
    fail "the materials can't be laid into $workdir; its disk may be full"
  cd "$HOME" || exit 1
  rm -rf "$own/materials" "$own/materials.tar.gz"
  umask 077
  put "$own/materials.id" "$id"
  reply changed
}
