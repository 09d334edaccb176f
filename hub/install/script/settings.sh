# Settings are the variables that say how the hub is reached. They come from this script's
# own environment, else from agent.env, which is where the service has them from.

# agent_env prints what agent.env says, one KEY=VALUE a line, read as systemd reads it:
# comments, and quotes around a value. Nothing in it is run.
agent_env() {
  local line value
  if [[ ! -r $env_file ]]; then return 0; fi
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ ! $line =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=[[:space:]]*(.*)$ ]]; then continue; fi
    value=${BASH_REMATCH[2]}
    value=${value%"${value##*[![:space:]]}"}
    case $value in
      \"*\" | \'*\') value=${value:1:-1} ;;
    esac
    printf '%s=%s\n' "${BASH_REMATCH[1]}" "$value"
  done <"$env_file"
}

# said_of KEY OTHER prints what agent.env says of one of them.
said_of() {
  local line value=''
  while IFS= read -r line; do
    if [[ $line == "$1="* || $line == "$2="* ]]; then value=${line#*=}; fi
  done <<<"$said"
  printf '%s' "$value"
}

# settle sets said, which is all of agent.env; variables, the settings; lacking, those that
# agent.env does not have so; ca, what is trusted beside the system's roots; and roots.
settle() {
  local key low here there candidate
  variables=() lacking=() ca='' roots=''
  if [[ -e $env_file && ! -r $env_file ]]; then warn "$env_file can't be read: what it says is left out"; fi
  said=$(agent_env)
  for key in SLIPWAY_CA_FILE HTTPS_PROXY HTTP_PROXY NO_PROXY; do
    low=$key
    # Both spellings are set: curl and the agent prefer one each.
    if [[ $key == *_PROXY ]]; then low=${key,,}; fi
    here=${!key:-${!low:-}}
    there=$(said_of "$key" "$low")
    if [[ -z $here$there ]]; then continue; fi
    if [[ $here == *[\'$'\n']* ]]; then die "$key holds a quote or a line break: it can't be handed on"; fi
    if [[ $key == SLIPWAY_CA_FILE ]]; then trust "$here" "$there"; fi
    variables+=("$key=${here:-$there}")
    if [[ $low != "$key" ]]; then variables+=("$low=${here:-$there}"); fi
    if [[ -n $here && $here != "$there" ]]; then lacking+=("$key=$here"); fi
  done
  for candidate in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
    if [[ -z $roots && -r $root$candidate ]]; then roots=$root$candidate; fi
  done
}

# trust sets ca, from this script's environment or from agent.env.
trust() {
  ca=${1:-$2}
  if [[ -n $1 && ${1#"$root"} =~ ^/(home|root|tmp|var/tmp|run)/ ]]; then
    die "SLIPWAY_CA_FILE is $1, where the agent can't see it later: put it into $conf_dir and name it there"
  fi
  if [[ $ca != /* ]] || ! grep -q -e '-----BEGIN CERTIFICATE-----' "$ca" 2>/dev/null; then
    die "SLIPWAY_CA_FILE is $ca: the whole path of a file with certificates (PEM) is needed"
  fi
  say "certificates: those in $ca are trusted beside the system's"
}

# reaching COMMAND… runs it with the settings. They are in no argument: a proxy's URL may
# hold a password.
reaching() (
  if ((${#variables[@]} > 0)); then export "${variables[@]}"; fi
  "$@"
)

# keep_settings leaves the agent what it was enrolled with. agent.env is the operator's: it
# is written where there is none, and never altered.
keep_settings() {
  local names line then='they are needed there when this is run again'
  if ((${#lacking[@]} == 0)); then return 0; fi
  names=${lacking[*]%%=*}
  if [[ -e $env_file ]]; then
    if [[ $mode == service ]]; then then="add them, then run: systemctl restart $name. Without them the agent can't reach the hub"; fi
    warn "settings: $env_file is yours and has not what was given here ($names): $then"
    return 0
  fi
  act install -d -m 0755 "$conf_dir"
  (
    umask 077
    for line in "${lacking[@]}"; do printf "%s='%s'\n" "${line%%=*}" "${line#*=}"; done | write "$env_file" 0600
  )
  if [[ $dry_run == no ]]; then renote settings "$(sha256_of "$env_file")"; fi
  say "settings: $names, in $env_file"
}

# drop_settings takes agent.env back where it is as it was left.
drop_settings() {
  if [[ -f $env_file && $(recorded settings) == "$(sha256_of "$env_file")" ]]; then act rm -f "$env_file"; fi
}

