# fetch URL FILE SHA256 ends the script where what comes is not what the hub named.
fetch() {
  local url=$1 file=$2 sha256=$3 sum protocols='=https'
  if [[ $dry_run == yes ]]; then
    printf 'would fetch: %s (SHA-256 %s)\n' "$url" "$sha256"
    return 0
  fi
  if [[ $url == http://* ]]; then protocols='=http,https'; fi
  curl -fsSL --proto "$protocols" --connect-timeout 20 --retry 3 --output "$file" "$url" ||
    die "$url can't be fetched: nothing was installed"
  sum=$(sha256sum "$file")
  sum=${sum%% *}
  if [[ $sum != "$sha256" ]]; then
    die "$url is not what the hub named (SHA-256 $sum, $sha256 is expected): nothing was installed. If it was replaced just now, run the line again"
  fi
}

fetch_agent() {
  if [[ -n $image ]]; then return 0; fi
  known_agents "$arch"
  if [[ -z $agent_sha256 ]]; then
    die "the hub has no agent for linux/$arch: its operator must put slipway-agent-linux-$arch into its folder of agents"
  fi
  fetch "$agent_url" "$tmp/slipway-agent" "$agent_sha256"
}

fetch_sysbox() {
  want_sysbox=no
  if [[ $isolated != yes ]]; then return 0; fi
  if has sysbox-runc; then
    say 'isolated runtime: sysbox-runc is here'
    return 0
  fi
  known_sysbox "$manager" "$arch"
  if [[ -z $sysbox_url ]]; then
    warn "isolated runtime: the hub knows no sysbox-runc for ${manager:-this system} on $arch: this host is enrolled without it"
    return 0
  fi
  if ! has_systemd; then
    warn 'isolated runtime: sysbox-runc needs systemd: this host is enrolled without it'
    return 0
  fi
  want_sysbox=yes
  sysbox_file=$tmp/sysbox.${sysbox_url##*.}
  fetch "$sysbox_url" "$sysbox_file" "$sysbox_sha256"
}

