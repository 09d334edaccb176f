say() { printf 'slipway: %s\n' "$*"; }
warn() { printf 'slipway: %s\n' "$*" >&2; }
die() {
  warn "$@"
  exit 1
}
sha256_of() {
  local sum
  sum=$(sha256sum "$1")
  printf '%s' "${sum%% *}"
}
has() { command -v "$1" >/dev/null 2>&1; }

# act runs a command that changes this host. With --dry-run it prints it.
act() {
  if [[ $dry_run == yes ]]; then
    printf 'would run:'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@"
  fi
}

# quietly is act for a command whose output nobody needs; its errors are shown.
quietly() {
  if [[ $dry_run == yes ]]; then act "$@"; else "$@" >/dev/null; fi
}

# write FILE MODE writes standard input to a file, at once, where it differs.
write() {
  local text
  text=$(cat)
  if [[ -f $1 && $(cat "$1") == "$text" ]]; then return 0; fi
  if [[ $dry_run == yes ]]; then
    printf 'would write: %q\n' "$1"
    return 0
  fi
  printf '%s\n' "$text" >"$1.new"
  chmod "$2" "$1.new"
  mv -f "$1.new" "$1"
}

# ask QUESTION: 0 is yes, 1 no, 2 that nobody can be asked. The terminal is asked by its
# name: standard input is the script itself where it came through a pipe.
ask() {
  local answer=''
  if [[ $yes == yes ]]; then return 0; fi
  if ! { : </dev/tty; } 2>/dev/null; then return 2; fi
  printf 'slipway: %s [y/N] ' "$1" >/dev/tty
  read -r answer </dev/tty || return 2
  [[ $answer == [yY]* ]]
}

# The record says what this script installed, one "key value" a line.
recorded() {
  local key value
  if [[ ! -f $record ]]; then return 0; fi
  while read -r key value; do
    if [[ $key == "$1" ]]; then printf '%s\n' "$value"; fi
  done <"$record"
}

# note KEY VALUE adds to the record; a line is there once.
note() {
  local line="$1 $2"
  if [[ -f $record ]] && grep -Fxq -- "$line" "$record"; then return 0; fi
  if [[ $dry_run == yes ]]; then return 0; fi
  install -d -m 0755 "$lib_dir"
  printf '%s\n' "$line" >>"$record"
  chmod 0644 "$record"
}

# renote KEY VALUE replaces what the record says of a key; an empty value forgets it.
renote() {
  if [[ $dry_run == yes ]]; then return 0; fi
  install -d -m 0755 "$lib_dir"
  if [[ -f $record ]]; then
    grep -v "^$1 " "$record" >"$record.new" || true
    mv -f "$record.new" "$record"
  fi
  if [[ -n $2 ]]; then note "$1" "$2"; fi
}

