# purge has the agent remove its containers, networks and volumes of jobs.
purge() {
  if [[ $1 == container ]]; then
    image=$(docker container inspect --format '{{.Config.Image}}' "$name" 2>/dev/null) || image=''
    if [[ -z $image ]]; then
      warn "the container $name is not here: what it started is not looked for"
      return 0
    fi
    container_flags
    quietly docker stop -t 45 "$name"
    act docker run --rm "${flags[@]}" "$image" purge --all --yes --data "$data_inside"
  else
    if [[ -f $unit ]] && has systemctl; then act systemctl disable --now "$name"; fi
    if [[ ! -f $data_dir/agent.json ]]; then return 0; fi # it never was a host's agent
    if [[ ! -x $program ]]; then
      warn "$program is not here: what it started is not looked for"
      return 0
    fi
    act "$program" purge --all --yes --data "$data_dir"
  fi
}

remove_container() {
  local images
  if has_container; then quietly docker rm --force "$name"; fi
  if docker volume inspect "$name" >/dev/null 2>&1; then quietly docker volume rm "$name"; fi
  images=$(docker image ls --quiet --filter "reference=$name:*" 2>/dev/null) || images=''
  # shellcheck disable=SC2086 # words are meant
  if [[ -n $images ]]; then quietly docker image rm --force $images; fi
}

remove_service() {
  if [[ -f $unit ]]; then
    act rm -f "$unit"
    if has systemctl; then act systemctl daemon-reload; fi
  fi
  act rm -f "$link"
  act rm -rf "$data_dir"
}

# remove_packages takes back what was installed for the agent, unless others use it now.
remove_packages() {
  local list answer=0
  list=$(recorded package | tr '\n' ' ')
  list=${list% }
  if [[ -z $list ]]; then return 0; fi
  if has docker && [[ -n $(docker ps --all --quiet 2>/dev/null) ]]; then
    warn "these packages were installed for the agent, and stay, since the engine has other containers: $list"
    return 0
  fi
  if [[ $dry_run == no ]]; then ask "Remove what was installed for the agent: $list?" || answer=$?; fi
  if ((answer != 0)); then
    say "these packages were installed for the agent, and stay: $list"
    return 0
  fi
  # shellcheck disable=SC2086 # words are meant
  packages remove $list || warn "they could not be removed, see above: $list"
}

uninstall() {
  local was answer=0
  was=$(recorded mode)
  if [[ -z $was && -f $unit ]]; then was=service; fi
  if [[ -z $was && ! -d $lib_dir ]]; then
    say 'no agent is installed here'
    return 0
  fi
  if [[ $dry_run == no ]]; then ask 'Remove the agent, and end the jobs that it runs?' || answer=$?; fi
  if ((answer == 1)); then die 'nothing was changed'; fi
  if [[ $(recorded host-root) == yes ]]; then host_root=yes; fi
  if ! purge "${was:-service}"; then
    if [[ $force == no ]]; then
      die "the agent's containers could not be removed, see above: nothing more was undone. --force goes on without"
    fi
    warn "the agent's containers could not be removed and stay"
  fi
  if [[ $was == container ]]; then remove_container; fi
  remove_service
  remove_packages
  drop_settings
  act rm -rf "$lib_dir"
  if [[ -d $conf_dir ]]; then rmdir_empty "$conf_dir"; fi
  if [[ $dry_run == yes ]]; then
    say 'nothing was changed'
    return 0
  fi
  say 'the agent is removed; its hub forgets it with "slipway hosts remove NAME"'
}

# rmdir_empty leaves the operator's own files.
rmdir_empty() {
  if [[ $dry_run == yes ]]; then return 0; fi
  rmdir "$1" 2>/dev/null || say "$1 holds your own files and stays"
}

