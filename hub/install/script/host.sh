usage() {
  cat <<'END'
Installs the Slipway agent on this host and enrols it at its hub.

  --container     run the agent as a container instead of a systemd service
  --image REF     that container's image, from a registry, instead of the hub's own agent
  --host-root     show the container the whole host, read-only, instead of the engine's folder
  --yes           ask nothing: install what is missing
  --dry-run       print what would be done, and change nothing
  --uninstall     undo all of it; the agent's containers are removed first
  --force         with --uninstall: go on where they can't be removed
  --help          this

Through a pipe: curl -fsSL URL | sudo bash -s -- --container
END
}

options() {
  yes=no dry_run=no uninstall=no force=no mode='' image='' host_root=no
  while (($# > 0)); do
    case $1 in
      --container) mode=container ;;
      --image)
        if (($# < 2)); then wrong '--image needs a reference'; fi
        image=$2 mode=container
        shift
        ;;
      --image=*) image=${1#*=} mode=container ;;
      --host-root) host_root=yes ;;
      --yes | -y) yes=yes ;;
      --dry-run) dry_run=yes ;;
      --uninstall) uninstall=yes ;;
      --force) force=yes ;;
      --help | -h)
        usage
        exit 0
        ;;
      *) wrong "$1 is no option" ;;
    esac
    shift
  done
  if [[ $mode == container && -n $image && ! $image =~ ^[A-Za-z0-9][A-Za-z0-9._:/@-]*$ ]]; then
    wrong '--image: that is no reference of an image'
  fi
  if [[ $force == yes && $uninstall == no ]]; then wrong '--force goes with --uninstall'; fi
}

wrong() {
  warn "$1"
  usage >&2
  exit 2
}

# host finds out what this machine is: arch and manager.
host() {
  local system machine
  system=$(uname -s)
  machine=$(uname -m)
  case $machine in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) die "$system on $machine is not supported: Linux on amd64 or arm64 is needed" ;;
  esac
  if [[ $system != Linux ]]; then die "$system on $machine is not supported: Linux on amd64 or arm64 is needed"; fi
  if has apt-get; then
    manager=apt
  elif has dnf; then
    manager=dnf
  else
    manager=''
    say 'neither apt-get nor dnf is here: nothing can be installed from packages, what is there is used'
  fi
}

need_root() {
  if [[ $dry_run == no && $(id -u) != 0 ]]; then die 'root is needed: use sudo, as in curl -fsSL URL | sudo bash'; fi
}

need_tools() {
  local tool
  for tool in "$@"; do
    if ! has "$tool"; then die "$tool is needed and not here: install it, then run the line again"; fi
  done
}

has_systemd() { [[ -d $root/run/systemd/system ]] && has systemctl; }

# how settles service or container, where no option says it by what is there.
how() {
  local was
  was=$(recorded mode)
  if [[ $mode == '' && $was == container ]]; then
    mode=container
    image=$(recorded image)
    if [[ $(recorded host-root) == yes ]]; then host_root=yes; fi
  fi
  if [[ $mode == '' ]]; then mode=service; fi
  if [[ -n $was && $was != "$mode" ]]; then
    die "the agent is here as a $was: a $mode can't be had beside it, --uninstall first"
  fi
  if [[ $mode == service && $host_root == yes ]]; then wrong '--host-root goes with --container'; fi
  if [[ $mode == service ]] && ! has_systemd; then
    die 'systemd does not run this host: use --container'
  fi
}

packages() { # install|remove NAME…
  if [[ $manager == apt ]]; then
    act env DEBIAN_FRONTEND=noninteractive apt-get "$1" -y -q "${@:2}"
  else
    act dnf "$1" -y -q "${@:2}"
  fi
}

