engine_version() { docker version --format '{{.Server.Version}}' 2>/dev/null; }

# await_engine waits up to 30 s.
await_engine() {
  local i
  if [[ $dry_run == yes ]]; then return 0; fi
  for ((i = 0; i < 30; i++)); do
    if engine_version >/dev/null; then return 0; fi
    sleep 1
  done
  return 1
}

need_engine() {
  if ! has docker; then
    install_engine
  elif [[ $(docker --version 2>/dev/null) == *[Pp]odman* ]]; then
    die "the docker command here is Podman's: a Docker engine is needed"
  elif ! engine_version >/dev/null; then
    start_engine
  fi
  if [[ $dry_run == no ]]; then say "engine: Docker $(engine_version)"; fi
}

start_engine() {
  if has_systemd; then act systemctl enable --now docker; fi
  await_engine || die "Docker is installed and does not answer: see what \"docker version\" says, start it, then run the line again"
}

install_engine() {
  local answer=0 chosen
  if [[ -z $manager ]]; then die 'no Docker engine is here: install one, start it, then run the line again'; fi
  if [[ $dry_run == no ]]; then ask 'No Docker engine is here. Install it?' || answer=$?; fi
  case $answer in
    0) ;;
    1) die 'without an engine nothing was changed: install Docker, then run the line again' ;;
    *) die 'no Docker engine is here, and nobody can be asked: install it, or run the line with: | sudo bash -s -- --yes' ;;
  esac
  if [[ $manager == apt ]]; then act apt-get update -q; fi
  chosen=$(engine_packages)
  if [[ -z $chosen ]]; then
    die 'no configured package source has a Docker engine: see https://docs.docker.com/engine/install/, then run the line again'
  fi
  # shellcheck disable=SC2086 # words are meant
  packages install $chosen
  # shellcheck disable=SC2086
  for chosen in $chosen; do note package "$chosen"; done
  start_engine
}

# engine_packages prints what to install: the engine's own packages where their source is
# configured, else the distribution's.
engine_packages() {
  if available docker-ce; then
    printf '%s' 'docker-ce docker-ce-cli containerd.io'
  elif [[ $manager == apt ]]; then
    if available docker.io; then printf '%s' 'docker.io'; else return 0; fi
    if available docker-cli; then printf '%s' ' docker-cli'; fi
  elif available moby-engine; then
    printf '%s' 'moby-engine'
    if available docker-cli; then printf '%s' ' docker-cli'; fi
  elif available docker; then
    printf '%s' 'docker'
  fi
}

# available NAME: a package of that very name, not one that only provides it.
available() {
  local found
  if [[ $manager == apt ]]; then
    apt-cache show --no-all-versions "$1" >/dev/null 2>&1
  else
    found=$(dnf -q repoquery --available --qf '%{name}\n' "$1" 2>/dev/null) && grep -Fxq -- "$1" <<<"$found"
  fi
}

install_sysbox() {
  local settings=$root/etc/docker/daemon.json
  if [[ $want_sysbox != yes ]]; then return 0; fi
  # The package sets the engine's address pools and must restart it for that: it wants no
  # containers then, and nothing here ends somebody's containers.
  if [[ $dry_run == no && -n $(docker ps --all --quiet) ]] &&
    ! { grep -q '"bip"' "$settings" && grep -q '"default-address-pools"' "$settings"; } 2>/dev/null; then
    warn 'isolated runtime: the engine has containers, and sysbox-runc changes its networks: this host is enrolled without it.'
    warn 'To add it: drain the host, remove its containers, and run a line of "slipway hosts reenrol" again'
    return 0
  fi
  if [[ $manager == apt ]]; then act apt-get update -q; fi
  if packages install "$sysbox_file"; then
    note package "$sysbox_package"
    await_engine || die 'the engine does not answer since sysbox-runc was installed: see "journalctl -u docker", then run the line again'
  else
    warn "isolated runtime: sysbox-runc could not be installed (see above): this host is enrolled without it"
  fi
}

