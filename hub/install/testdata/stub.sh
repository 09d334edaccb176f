#!/usr/bin/env bash
# Stands in for the program that it is called as: it records the call, and does as
# little of its work as the script can notice. What the machine is like is in $STATE.
set -euo pipefail
self=${0##*/}
{
  printf '%s' "$self"
  if (($# > 0)); then printf ' %q' "$@"; fi
  printf '\n'
} >>"$CALLS"

# shows OPTION… records the files that options name.
shows() {
  while (($# > 1)); do
    if [[ $1 == --cacert || $1 == --env-file ]]; then grep -v '^$' "$2" | sed 's/^/  /' >>"$CALLS"; fi
    shift
  done
}
shows "$@"
case $self in
  curl | slipway-agent | apt-get)
    for variable in SLIPWAY_CA_FILE HTTPS_PROXY https_proxy HTTP_PROXY http_proxy NO_PROXY no_proxy; do
      if [[ -v $variable ]]; then printf '  with %s=%s\n' "$variable" "${!variable}" >>"$CALLS"; fi
    done
    ;;
esac

# No command is to take what the shell still has to read.
if [[ $self == systemctl || $self == docker && "$*" == version* ]] && IFS= read -r -N 1 _; then
  printf '%s took input\n' "$self" >>"$CALLS"
fi

is() { [[ -e $STATE/$1 ]]; }
set_() { : >"$STATE/$1"; }
unset_() { rm -f "$STATE/$1"; }
read_() { if is "$1"; then cat "$STATE/$1"; fi; }
fail() {
  printf '%s\n' "$self: $*" >&2
  exit 1
}
# Others know an engine's arrival by the command that is there from then on.
arrive() { ln -sf "$STUB" "$BIN/docker"; }
enrolment() { # what the agent gets handed over goes nowhere but here
  cat "$1" >"$STATE/enrolment"
  printf 'enrolment is handed over by %s\n' "${2}" >>"$CALLS"
  if is refuse-enrolment; then fail 'the hub refused the enrolment'; fi
}

case $self in
  uname)
    if [[ $1 == -s ]]; then read_ system; else read_ machine; fi
    ;;
  id) read_ uid ;;
  sleep | restorecon) ;;
  curl)
    while (($# > 1)); do
      if [[ $1 == --output ]]; then out=$2; fi
      shift
    done
    if is unknown-authority; then exit 60; fi
    is "www/${1##*/}" || fail "(22) The requested URL returned error: 404"
    cat "$STATE/www/${1##*/}" >"$out"
    ;;
  apt-cache)
    read_ available | grep -Fxq -- "${!#}"
    ;;
  apt-get | dnf)
    case "$*" in
      *repoquery*) if read_ available | grep -Fxq -- "${!#}"; then printf '%s\n' "${!#}"; fi ;;
      *install*docker.io* | *install*docker-ce* | *install*moby-engine*) arrive ;;
      *install*sysbox*) if is refuse-sysbox; then fail 'the package could not be configured'; fi ;;
    esac
    ;;
  systemctl)
    case "$*" in
      is-active*) is active ;;
      'enable --now docker') set_ engine ;;
      stop* | disable*) unset_ active ;;
      start* | restart*) if ! is refuse-start; then set_ active; fi ;;
    esac
    ;;
  docker)
    case "$*" in
      --version) read_ docker-version ;;
      version*) if is engine; then echo 27.5.1; else fail 'Cannot connect to the Docker daemon'; fi ;;
      info*) echo /var/lib/docker ;;
      ps*) read_ ps ;;
      'container inspect --format'*) read_ container ;;
      'container inspect'*) is container ;;
      'image inspect'*) if is image; then read_ image; else fail 'No such image'; fi ;;
      'image ls'*) read_ images ;;
      'volume inspect --format'*) echo /var/lib/docker/volumes/slipway-agent/_data ;;
      'volume inspect'*) is volume ;;
      'volume create'*) set_ volume ;;
      'volume rm'*) unset_ volume ;;
      import*) tar -tf "${@: -2:1}" | sort | sed 's/^/  /' >>"$CALLS" ;;
      create*) printf '%s' 'slipway-agent:v1.4.0' >"$STATE/container" ;;
      rm*) unset_ container ;;
      'run --rm --interactive'*)
        enrolment /dev/stdin 'standard input'
        ;;
      *' purge '*) if is refuse-purge; then fail 'the engine does not answer'; fi ;;
    esac
    ;;
  slipway-agent)
    case $1 in
      enrol)
        while (($# > 1)); do
          case $1 in
            --token-file) file=$2 ;;
            --data) data=$2 ;;
          esac
          shift
        done
        enrolment "$file" "a file of mode $(stat -c %a "$file") in a folder of mode $(stat -c %a "${file%/*}")"
        : >"$data/agent.json"
        ;;
      purge) if is refuse-purge; then fail 'the engine does not answer'; fi ;;
    esac
    ;;
  *) fail "nobody plays $self" ;;
esac
