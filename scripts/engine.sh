#!/usr/bin/env bash
# engine.sh: a Docker engine for the tests that need one.
#
# Where an engine answers (DOCKER_HOST, else the local socket) it is left as it
# is. On a Debian machine, as root, one is installed and started in the
# background otherwise; its log and pid are in .engine/, which git ignores.
# Running it again changes nothing. ENGINE_WAIT bounds the wait for the engine
# to answer, in seconds; default 60.
set -euo pipefail

cd "$(dirname "$0")/.."
state=$PWD/.engine
log=$state/dockerd.log
pidfile=$state/dockerd.pid
host=${DOCKER_HOST:-unix:///var/run/docker.sock}
wait_seconds=${ENGINE_WAIT:-60}

say() { echo "engine: $*"; }
die() { echo "engine: $*" >&2; exit 1; }

# answers asks the engine through the docker program, or by its socket where
# there is no such program.
answers() {
  if command -v docker >/dev/null; then
    timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null
  elif [[ $host == unix://* ]] && command -v curl >/dev/null; then
    curl -fsS --max-time 10 --unix-socket "${host#unix://}" http://localhost/version 2>/dev/null
  else
    return 1
  fi
}

# missing tells the packages that are not there: the engine's, the docker
# program where Debian has it apart, and what tests use: the static binary that
# images are made of, network namespaces, and the check of the install script.
missing() {
  if ! command -v dockerd >/dev/null; then echo docker.io; fi
  if ! command -v docker >/dev/null && [[ -n $(apt-cache search --names-only '^docker-cli$') ]]; then echo docker-cli; fi
  if ! command -v busybox >/dev/null; then echo busybox-static; fi
  if ! command -v ip >/dev/null; then echo iproute2; fi
  if ! command -v shellcheck >/dev/null; then echo shellcheck; fi
}

install_missing() {
  if command -v dockerd >/dev/null && command -v docker >/dev/null && command -v busybox >/dev/null && command -v ip >/dev/null &&
    command -v shellcheck >/dev/null; then return 0; fi
  command -v apt-get >/dev/null || die "no engine answers at $host, and this is no Debian machine: install Docker and start it"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  local packages
  mapfile -t packages < <(missing)
  say "installing ${packages[*]}"
  apt-get install -y -qq --no-install-recommends ca-certificates iptables "${packages[@]}" >"$state/apt.log" 2>&1 ||
    { tail -n 20 "$state/apt.log" >&2; die "apt-get install ${packages[*]}: see above"; }
}

# running says whether the dockerd that an earlier run started is alive.
running() {
  [[ -s $pidfile ]] && [[ $(cat "/proc/$(cat "$pidfile")/comm" 2>/dev/null) == dockerd ]]
}

start() {
  : >"$log"
  # The lock (fd 9) must not live on in the engine.
  setsid nohup dockerd --host "$host" --pidfile "$pidfile" >>"$log" 2>&1 </dev/null 9>&- &
  started=$!
}

await() {
  local version
  for ((i = 0; i < wait_seconds * 2; i++)); do
    if version=$(answers); then say "up at $host, version $version, log in .engine/dockerd.log"; return 0; fi
    if [[ -n ${started:-} ]] && ! kill -0 "$started" 2>/dev/null; then break; fi
    sleep 0.5
  done
  tail -n 30 "$log" >&2 || true
  die "no answer at $host: the end of .engine/dockerd.log is above"
}

# leave_if_answered ends the script where an engine answers.
leave_if_answered() {
  local version
  version=$(answers) || return 0
  command -v busybox >/dev/null || say "tests need a static busybox as well: apt-get install busybox-static"
  say "answers at $host already, version $version"
  exit 0
}

leave_if_answered
[[ $host == unix://* ]] || die "no engine answers at $host: start it, or unset DOCKER_HOST"
[[ $(id -u) == 0 ]] || die "no engine answers at $host: start one, or run this as root so that one can be installed"

# One at a time: a second run waits, and finds the first one's engine.
mkdir -p "$state"
exec 9>"$state/lock"
flock 9
leave_if_answered
install_missing
# Where the package's own service comes up by itself there is nothing to start.
if [[ -d /run/systemd/system ]] && systemctl start docker 2>/dev/null && answers >/dev/null; then
  say "up at $host as the service docker"
  exit 0
fi
running || start
await
