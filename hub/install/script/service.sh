# write_token sets what an agent is told to find its hub, and the file of the enrolment.
write_token() {
  reach=(--hub "$hub_url")
  if [[ $insecure == yes ]]; then
    warn "the hub is reached by plain HTTP: whoever is on the way can read and alter everything, this installation too"
    reach+=(--insecure-http)
  fi
  token_file=$tmp/enrolment
  if [[ $dry_run == yes ]]; then return 0; fi
  (
    umask 077
    printf '%s\n' "$enrolment" >"$token_file"
  )
}

# leave_uninstaller writes what undoes all this later, when the enrolment is spent: the
# functions of this script and nothing that is secret.
leave_uninstaller() {
  act install -d -m 0755 "$lib_dir"
  {
    printf '%s\n' '#!/usr/bin/env bash' '# Removes the Slipway agent; --help says how.' 'set -euo pipefail' '{'
    declare -f
    # shellcheck disable=SC2016 # for the other script
    printf '%s\n' 'main --uninstall "$@" </dev/null' 'exit' '}'
  } | write "$lib_dir/uninstall" 0755
}

unit_text() {
  cat <<END
[Unit]
Description=Slipway agent: runs jobs on this host for its hub
Documentation=https://github.com/slipway-ci/slipway/blob/main/docs/agent.md
# Not Requires: the agent outlives a restart of the engine.
After=network-online.target docker.service
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# Ready means that it works, not that the hub is there.
WatchdogSec=3min
# Settings of this host's operator, such as HTTPS_PROXY or DOCKER_CONFIG.
EnvironmentFile=-$conf_dir/agent.env
ExecStart=$program run --data $data_dir
# Reads agent.yaml anew.
ExecReload=/bin/kill -HUP \$MAINPID
Restart=always
RestartSec=2
# A stop takes 30 s at most. The agent alone: what runs goes on.
TimeoutStopSec=45
KillMode=process
OOMScoreAdjust=-500
UMask=0077
# Its data, where newer programs of it go too: the one above is never written to.
StateDirectory=$name
StateDirectoryMode=0700

# Root, for the engine's socket, and without any of root's powers. Whoever may use that
# socket has the host in the end: what may be run over it is the policy's to say.
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
DevicePolicy=closed
DeviceAllow=char-nvidia* rw
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
MemoryMax=1G
TasksMax=512

[Install]
WantedBy=multi-user.target
END
}

install_program() {
  local sum=''
  act install -d -m 0755 "$lib_dir/bin"
  if [[ -f $program ]]; then sum=$(sha256_of "$program"); fi
  if [[ $sum == "$agent_sha256" ]]; then
    say "agent: $agent_version is here"
  else
    act install -m 0755 "$tmp/slipway-agent" "$program.new"
    act mv -f "$program.new" "$program"
    say "agent: $agent_version"
  fi
  act install -d -m 0755 "${link%/*}"
  act ln -sfn "$program" "$link"
  if has restorecon; then act restorecon -RF "$lib_dir"; fi
}

# pin_key fixes whose signature updates must have, in the agent's data folder.
pin_key() {
  if [[ -z $update_key ]]; then
    say 'updates: the hub has no key for them; the agent is updated by running a line like this one again'
    return 0
  fi
  if [[ -f $data_dir/update-key.pub && $(cat "$data_dir/update-key.pub") != "$update_key" ]]; then
    warn 'updates: the key that they are checked with is replaced by the one that the hub has now'
  fi
  write "$data_dir/update-key.pub" 0644 <<<"$update_key"
}

install_service() {
  renote mode service
  install_program
  act install -d -m 0700 "$data_dir"
  pin_key
  if systemctl is-active --quiet "$name"; then
    # Jobs go on: an agent takes over what runs when it starts.
    revive=(systemctl start "$name")
    act systemctl stop "$name"
  fi
  reaching act "$program" enrol --data "$data_dir" "${reach[@]}" --token-file "$token_file" ||
    die "the enrolment did not succeed, see above; a new line: slipway hosts reenrol $host_name"
  keep_settings
  act install -d -m 0755 "${unit%/*}"
  unit_text | write "$unit" 0644
  act systemctl daemon-reload
  act systemctl enable --quiet "$name"
  act systemctl restart "$name"
  revive=(true)
  if [[ $dry_run == no ]] && ! systemctl is-active --quiet "$name"; then
    die "the agent does not run: see \"journalctl -u $name\""
  fi
}

