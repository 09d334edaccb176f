# fetch URL FILE SHA256 [ROOTS] ends the script where what comes is not what the hub named.
# ROOTS is a file of certificates, instead of the system's.
fetch() {
  local url=$1 file=$2 sha256=$3 trusted=${4-} sum code=0 protocols='=https'
  if [[ $dry_run == yes ]]; then
    printf 'would fetch: %s (SHA-256 %s)\n' "$url" "$sha256"
    return 0
  fi
  if [[ $url == http://* ]]; then protocols='=http,https'; fi
  reaching curl -fsSL --proto "$protocols" --connect-timeout 20 --retry 3 ${trusted:+--cacert "$trusted"} --output "$file" "$url" || code=$?
  case $code in
    0) ;;
    60) die "$url can't be fetched: its certificate is of an authority that this host does not know. Put that authority's certificate (PEM) into $conf_dir/ca.pem, then run the line with: | sudo SLIPWAY_CA_FILE=$conf_dir/ca.pem bash" ;;
    *) die "$url can't be fetched: nothing was installed" ;;
  esac
  sum=$(sha256_of "$file")
  if [[ $sum != "$sha256" ]]; then
    die "$url is not what the hub named (SHA-256 $sum, $sha256 is expected): nothing was installed. If it was replaced just now, run the line again"
  fi
}

fetch_agent() {
  local trusted=''
  if [[ -n $image ]]; then return 0; fi
  known_agents "$arch"
  if [[ -z $agent_sha256 ]]; then
    die "the hub has no agent for linux/$arch: its operator must put slipway-agent-linux-$arch into its folder of agents"
  fi
  if [[ -n $ca ]]; then
    trusted=$tmp/roots.pem
    {
      cat "$ca"
      printf '\n'
      if [[ -n $roots ]]; then cat "$roots"; fi
    } >"$trusted"
  fi
  fetch "$agent_url" "$tmp/slipway-agent" "$agent_sha256" "$trusted"
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

