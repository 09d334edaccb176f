# import_image makes the image of the hub's own agent: the program, whom to trust, and a
# folder for temporary files.
import_image() {
  local stage=$tmp/image roots_sha256='' labels
  image=$name:$(printf '%s' "$agent_version" | tr -c 'A-Za-z0-9_.-' '-')
  if [[ -n $roots ]]; then roots_sha256=$(sha256_of "$roots"); fi
  labels=$(docker image inspect --format '{{index .Config.Labels "slipway.agent.sha256"}} {{index .Config.Labels "slipway.roots.sha256"}}' "$image" 2>/dev/null) || labels=''
  if [[ $labels == "$agent_sha256 $roots_sha256" ]]; then
    say "agent: $image is here"
    return 0
  fi
  if [[ $dry_run == no ]]; then
    install -d -m 0755 "$stage" "$stage/usr" "$stage/usr/local" "$stage/usr/local/bin" "$stage/etc" "$stage/etc/ssl" "$stage/etc/ssl/certs"
    install -d -m 1777 "$stage/tmp"
    install -m 0755 "$tmp/slipway-agent" "$stage/usr/local/bin/slipway-agent"
    if [[ -n $roots ]]; then install -m 0644 "$roots" "$stage/etc/ssl/certs/ca-certificates.crt"; fi
    tar -C "$stage" --owner=0 --group=0 -cf "$tmp/image.tar" .
  fi
  quietly docker import --change 'ENTRYPOINT ["/usr/local/bin/slipway-agent"]' --change 'CMD ["run"]' \
    --change "LABEL slipway.agent.sha256=$agent_sha256" --change "LABEL slipway.roots.sha256=$roots_sha256" "$tmp/image.tar" "$image"
  say "agent: $image"
}

# container_flags sets what every container of the agent is run with.
container_flags() {
  local engine_dir
  flags=(--network host --userns host --cap-drop ALL --security-opt no-new-privileges --security-opt label=disable
    --volume "$name:$data_inside:nocopy" --volume "$socket:$socket" --volume "$conf_dir:/etc/slipway-agent:ro")
  if [[ $host_root == yes ]]; then
    flags+=(--volume "/:/host:ro,rslave" --env SLIPWAY_AGENT_HOST_ROOT=/host)
    return 0
  fi
  engine_dir=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null) || engine_dir=''
  # Its own place, so that the engine's word for it holds inside too; for the disk gauge.
  if [[ $engine_dir == /* ]]; then flags+=(--volume "$engine_dir:$engine_dir:ro"); fi
}

# container_settings sets told: flags, and how the agent's containers get the settings and
# all of agent.env. That is written anew for them: engines know no quotes in such a file.
container_settings() {
  local ours='SLIPWAY_CA_FILE|HTTPS_PROXY|HTTP_PROXY|NO_PROXY|https_proxy|http_proxy|no_proxy'
  told=("${flags[@]}")
  if [[ -n $ca ]]; then told+=(--volume "$ca:$ca:ro"); fi
  if [[ -z $said ]] && ((${#variables[@]} == 0)); then return 0; fi
  told+=(--env-file "$tmp/agent.env")
  (
    umask 077
    {
      grep -vE "^($ours)=" <<<"$said" || true
      if ((${#variables[@]} > 0)); then printf '%s\n' "${variables[@]}"; fi
    } >"$tmp/agent.env"
  )
}

# make_volume makes the data volume, for root alone, whatever the image has in its place.
make_volume() {
  local place
  quietly docker volume create "$name"
  if [[ $dry_run == yes ]]; then return 0; fi
  place=$(docker volume inspect --format '{{.Mountpoint}}' "$name")
  if [[ $place == /* && -d $place ]]; then chmod 0700 "$place"; fi
}

has_container() { docker container inspect "$name" >/dev/null 2>&1; }

install_container() {
  renote mode container
  renote image "$image"
  renote host-root "$host_root"
  if [[ -n $image ]]; then
    act docker pull "$image"
  else
    import_image
  fi
  container_flags
  container_settings
  act install -d -m 0755 "$conf_dir"
  if has_container; then
    # Jobs go on: an agent takes over what runs when it starts.
    revive=(quietly docker start "$name")
    quietly docker stop -t 45 "$name"
  fi
  make_volume
  enrol_in_container || die "the enrolment did not succeed, see above; a new line: slipway hosts reenrol $host_name"
  revive=(true)
  keep_settings
  if has_container; then quietly docker rm --force "$name"; fi
  quietly docker create --name "$name" --restart unless-stopped --log-driver local "${told[@]}" "$image" run --data "$data_inside"
  if [[ -n $update_key ]]; then
    if [[ $dry_run == no ]]; then printf '%s\n' "$update_key" >"$tmp/update-key.pub"; fi
    quietly docker cp "$tmp/update-key.pub" "$name:$data_inside/update-key.pub"
  else
    say 'updates: the hub has no key for them; the agent is updated by running a line like this one again'
  fi
  quietly docker start "$name"
}

# enrol_in_container hands the enrolment over on standard input: arguments can be read by anyone.
enrol_in_container() {
  local command=(docker run --rm --interactive "${told[@]}" "$image" enrol --data "$data_inside" "${reach[@]}" --token-file /dev/stdin)
  if [[ $dry_run == yes ]]; then
    act "${command[@]}"
  else
    "${command[@]}" <"$token_file"
  fi
}

