# shellcheck disable=SC2317,SC2329 # the trap calls it
finish() {
  local code=$?
  if ((code != 0)) && [[ $dry_run == no ]]; then "${revive[@]}" || true; fi
  if [[ -n $tmp ]]; then rm -rf "$tmp"; fi
  exit "$code"
}

main() {
  umask 022
  tmp='' revive=(true)
  options "$@"
  paths
  host
  need_root
  if [[ $uninstall == yes ]]; then
    trap finish EXIT
    uninstall
    return 0
  fi
  how
  need_tools curl sha256sum install mktemp grep
  if [[ $mode == container ]]; then need_tools tar; fi
  tmp=$(mktemp -d)
  trap finish EXIT
  say "enrolling this host as $host_name at $hub_url, as a $mode"
  settle
  # Everything is fetched and checked before anything is installed.
  fetch_agent
  fetch_sysbox
  need_engine
  install_sysbox
  write_token
  leave_uninstaller
  if [[ $mode == container ]]; then install_container; else install_service; fi
  if [[ $dry_run == yes ]]; then
    say 'nothing was changed'
  else
    say "done: \"slipway hosts list\" shows $host_name; to undo this: sudo $lib_dir/uninstall"
  fi
}

main "$@" </dev/null
exit
}
