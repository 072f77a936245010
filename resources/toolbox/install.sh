#!/bin/sh
# Makes a machine with Debian or Ubuntu a toolbox, upgrades the DTMA on it, or takes it away again. See --help.
#
# - Nothing is unpacked before its SHA-256 was compared, and no secret is an argument: an enrolment is the hash of a key.
# - Running it again changes only what is different. A release that does not get ready is replaced by the one before it.
# - The port through which somebody is logged in stays open.
# - Everything is inside functions, so a download of this script that was cut short runs nothing.
set -eu
umask 022
PATH=$PATH:/usr/sbin:/sbin

home=/opt/dtma
conf=/etc/dtma.conf
units=/etc/systemd/system
upgrades=/etc/apt/apt.conf.d/52dtma-upgrades
link=/usr/local/bin/dtma
# What was here before, while it is not sure that the new does as well.
replaced=$home/replaced
work='' unsettled=no

usage() {
  cat <<'TEXT'
Usage: install.sh [options]

Installs Docker if there is none, the DTMA as a systemd service, a firewall and security updates; with a
newer release it upgrades. Run it from an unpacked release, or name one:

  --from FILE|URL      the archive of a release
  --sha256 HEX         its SHA-256; required for a URL, else FILE.sha256 is read
  --enrol HASH:TIME    lets a control centre enrol with a single-use key until TIME (epoch seconds); HASH is the
                       key's SHA-256 in hex
  --port NUMBER        where the DTMA listens (30000)
  --allow-host NAME    a name by which clients may address it; may be repeated
  --no-firewall        leave the firewall alone; remembered until --firewall
  --wait SECONDS       how long a release may take to get ready (90)
  --uninstall          remove the DTMA, its servers, their data and everything else of it; Docker stays
  --yes                do not ask before --uninstall
  --help               this text
TEXT
}

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
# Whether a text is one line of this form.
matches() { [ "$(printf '%s' "$1" | wc -l)" -eq 0 ] && printf '%s\n' "$1" | grep -Eqx -- "$2"; }

read_options() {
  from='' sha256='' enrolment='' port='' hosts='' firewall='' wait_seconds=90 action=install confirmed=no
  while [ $# -gt 0 ]; do
    case $1 in
      --from | --sha256 | --enrol | --port | --allow-host | --wait)
        [ $# -ge 2 ] || fail "$1 needs a value."
        ;;
    esac
    case $1 in
      --from) from=$2 ;;
      --sha256) sha256=$(printf '%s' "$2" | tr 'A-F' 'a-f') ;;
      --enrol) enrolment=$2 ;;
      --port) port=$2 ;;
      --allow-host) hosts=${hosts:+$hosts,}$2 ;;
      --wait) wait_seconds=$2 ;;
      --firewall) firewall=yes ;;
      --no-firewall) firewall=no ;;
      --uninstall) action=uninstall ;;
      --yes) confirmed=yes ;;
      --help | -h)
        usage
        exit 0
        ;;
      *) fail "\"$1\" is no option; see --help." ;;
    esac
    case $1 in
      --from | --sha256 | --enrol | --port | --allow-host | --wait) shift ;;
    esac
    shift
  done
  [ -z "$sha256" ] || matches "$sha256" '[a-f0-9]{64}' || fail '--sha256 must be 64 hexadecimal digits.'
  [ -z "$enrolment" ] || matches "$enrolment" '[a-f0-9]{64}:[0-9]{1,12}' ||
    fail '--enrol must be the SHA-256 of the key in hex, a colon and the time in epoch seconds.'
  [ -z "$port" ] || { matches "$port" '[1-9][0-9]{0,4}' && [ "$port" -le 65535 ]; } || fail '--port must be 1 to 65535.'
  [ -z "$hosts" ] || matches "$hosts" '[A-Za-z0-9.:,-]+' || fail '--allow-host must be the name of a host.'
  matches "$wait_seconds" '[1-9][0-9]{0,3}' || fail '--wait must be a number of seconds.'
}

check_machine() {
  [ "$(id -u)" = 0 ] || fail 'This needs root: run it with sudo.'
  [ -d /run/systemd/system ] || fail 'This machine does not run systemd.'
  has apt-get || fail 'This is neither Debian nor Ubuntu: there is no apt-get.'
  exec 9>/run/dtma-install.lock
  flock -n 9 || fail 'Another install.sh is at work on this machine.'
}

clean_up() {
  [ "$unsettled" = no ] || put_back_settings
  [ -z "$work" ] || rm -rf "$work"
  rm -f /run/dtma-install.lock
}

# --- packages

wanted=
want() { has "$1" || wanted="$wanted $2"; }

install_packages() {
  want iptables iptables
  want unattended-upgrade unattended-upgrades
  [ "$firewall" = no ] || want nft nftables
  [ -e /etc/ssl/certs/ca-certificates.crt ] || wanted="$wanted ca-certificates"
  if ! has dockerd && [ ! -S /run/docker.sock ]; then wanted="$wanted docker.io"; fi
  if [ -n "$wanted" ]; then
    say "Installing:$wanted"
    update_lists
    # Newer Debian keeps Docker's command in a package of its own.
    if ! has docker && apt-cache show docker-cli >/dev/null 2>&1; then wanted="$wanted docker-cli"; fi
    # shellcheck disable=SC2086 # a list of words
    apt install -y --no-install-recommends $wanted
  fi
  if [ -e /lib/systemd/system/docker.service ] || [ -e "$units/docker.service" ]; then
    systemctl enable -q --now docker.service || say 'Docker does not start; the DTMA waits for it. See: journalctl -u docker'
  fi
  write_if_different "$upgrades" 0644 <<'TEXT'
// Written by install.sh of the DTMA; which updates are taken is up to 50unattended-upgrades.
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
TEXT
}

# On a machine that has just started, apt's own timers may hold its locks.
update_lists() {
  for attempt in 1 2 3 4 5 6; do
    if apt update; then return; fi
    [ "$attempt" = 6 ] || sleep 10
  done
  fail 'The lists of packages could not be updated.'
}

apt() {
  log=$work/apt.log
  if DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -q -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 9>&-; then return 0; fi
  tail -n 20 "$log" >&2
  return 1
}

# Standard input becomes the file; true when that changed something.
write_if_different() {
  cat >"$work/file"
  if [ -f "$1" ] && cmp -s "$work/file" "$1"; then return 0; fi
  install -m "$2" "$work/file" "$1.dtma-new"
  mv "$1.dtma-new" "$1"
  changed=yes
}

# --- the release

# Leaves the release in $release, a folder below $home/releases.
place_release() {
  mkdir -p "$home/releases"
  if [ -n "$from" ]; then
    unpack
  else
    source=$here
    [ -n "$source" ] || fail 'Name a release: --from URL --sha256 HEX.'
  fi
  version=$(cat "$source/VERSION")
  matches "$version" '[0-9A-Za-z][0-9A-Za-z.+-]*' || fail "The release has a strange version: $version"
  (cd "$source" && sha256sum --quiet --strict -c SHA256SUMS >&2) || fail 'A file of the release is not as it was made.'
  "$source/bin/node" --version >/dev/null || fail "This release is not made for this machine ($(uname -m))."
  release=$home/releases/$version
  if [ -d "$release" ] && ! cmp -s "$source/SHA256SUMS" "$release/SHA256SUMS"; then
    release=$release-$(sha256sum "$source/SHA256SUMS" | cut -c1-8)
  fi
  if [ ! -d "$release" ]; then
    if [ -z "$from" ]; then
      rm -rf "$home/releases/.new"
      cp -R "$source" "$home/releases/.new"
      source=$home/releases/.new
    fi
    chown -R root:root "$source"
    mv "$source" "$release"
  fi
}

unpack() {
  archive=$from
  case $from in
    http://* | https://*)
      [ -n "$sha256" ] || fail 'A release from an address needs --sha256.'
      archive=$work/release.tar.gz
      say "Fetching $from"
      fetch "$from" "$archive" || fail "The release could not be fetched from $from."
      ;;
    *)
      [ -f "$from" ] || fail "There is no file $from."
      if [ -z "$sha256" ]; then
        [ -f "$from.sha256" ] || fail "There is no $from.sha256; give --sha256."
        sha256=$(cut -c1-64 "$from.sha256")
      fi
      ;;
  esac
  found=$(sha256sum <"$archive" | cut -c1-64)
  [ "$found" = "$sha256" ] || fail "The SHA-256 of the release is $found, not $sha256. Nothing was unpacked."
  source=$home/releases/.new
  rm -rf "$source"
  mkdir "$source"
  tar -xzf "$archive" -C "$source" --strip-components=1 --no-same-owner
}

fetch() {
  if has curl; then
    curl -fsSL --retry 4 -o "$2" "$1"
  elif has wget; then
    wget -q -O "$2" "$1"
  else
    update_lists && apt install -y --no-install-recommends curl && curl -fsSL --retry 4 -o "$2" "$1"
  fi
}

# --- settings

setting() { [ ! -f "$conf" ] || sed -n "s/^ *\(export  *\)\{0,1\}$1 *= *[\"']\{0,1\}\([^\"']*\)[\"']\{0,1\} *\$/\2/p" "$conf" | tail -n 1; }

# Replaces a line of the settings, or adds it.
set_setting() {
  [ "$(setting "$1")" != "$2" ] || return 0
  { grep -Ev "^ *(export +)?$1 *=" "$conf" || true; } >"$work/conf"
  printf '%s=%s\n' "$1" "$2" >>"$work/conf"
  replace_settings "$work/conf"
  changed=yes
}

# As a whole: a full disk or a power cut leaves the file as it was.
replace_settings() {
  target=$(readlink -f "$conf")
  install -m 0600 "$1" "$target.dtma-new"
  mv "$target.dtma-new" "$target"
}

# The DTMA makes a hash of a token in clear, which the agent before needs, before it is known to work. A copy that is there
# already is of a run that did not come to its end, and the older one.
keep_settings() {
  if [ ! -f "$conf" ] || [ -e "$replaced/dtma.conf" ]; then return 0; fi
  mkdir -p "$replaced"
  install -m 0600 "$conf" "$replaced/dtma.conf.new"
  mv "$replaced/dtma.conf.new" "$replaced/dtma.conf"
}

put_back_settings() {
  [ -e "$replaced/dtma.conf" ] || return 0
  replace_settings "$replaced/dtma.conf"
  rm -f "$replaced/dtma.conf"
}

write_settings() {
  keep_settings
  unsettled=yes
  if [ ! -e "$conf" ]; then
    (umask 077 && printf '# Settings of the DTMA; dtma --help explains them.\n' >"$conf")
  fi
  chown root:root "$conf"
  chmod 0600 "$conf"
  # The agent that was here before listened everywhere without saying so.
  [ -n "$(setting DTMA_HOST)" ] || set_setting DTMA_HOST 0.0.0.0
  [ -z "$port" ] || set_setting PORT "$port"
  [ -n "$(setting PORT)" ] || set_setting PORT 30000
  [ -z "$hosts" ] || set_setting DTMA_ALLOWED_HOSTS "$hosts"
  [ -z "$enrolment" ] || set_setting DTMA_ENROLMENT "$enrolment"
  port=$(setting PORT)
}

# --- firewall

# Ports of the login service: as configured, as listening, and as used by whoever runs this. 22 in any case.
ssh_ports() {
  {
    echo 22
    [ -z "${SSH_CONNECTION:-}" ] || echo "${SSH_CONNECTION##* }"
    if has sshd; then sshd -T 2>/dev/null | sed -n 's/^port //p'; fi
    systemctl show -p Listen --value ssh.socket sshd.socket 2>/dev/null | sed -n 's/.*:\([0-9]*\) (Stream).*/\1/p'
    if has ss; then ss -Htnap 2>/dev/null | grep -E '"(sshd[^"]*|dropbear)"' | awk '{ sub(/.*:/, "", $4); print $4 }'; fi
  } | grep -Ex '[0-9]{1,5}' | sort -nu
}

install_firewall() {
  if [ -z "$firewall" ] && [ -e "$home/no-firewall" ]; then firewall=no; fi
  if [ "$firewall" = no ]; then
    : >"$home/no-firewall"
    remove_firewall
    return
  fi
  rm -f "$home/no-firewall"
  ports=$({ ssh_ports && echo "$port"; } | sort -nu)
  sed "s/@PORTS@/$(echo "$ports" | paste -sd , -)/" "$release/firewall.nft" >"$work/firewall.nft"
  write_if_different "$units/dtma-firewall.service" 0644 <"$release/dtma-firewall.service"
  systemctl daemon-reload
  systemctl enable -q dtma-firewall.service
  if ! cmp -s "$work/firewall.nft" "$home/firewall.nft" || ! nft list table inet dtma >/dev/null 2>&1; then
    nft -c -f "$work/firewall.nft" || fail 'The firewall rules are not accepted by this kernel; use --no-firewall.'
    install -m 0644 "$work/firewall.nft" "$home/firewall.nft"
    systemctl restart dtma-firewall.service
  fi
  warn_of_closed_ports
}

warn_of_closed_ports() {
  if has ss; then
    # 30001 is the gate of restricted networks, which is for containers only.
    open=$(printf '%s\n' "$ports" 30001 | paste -sd '|' -)
    closed=$(ss -Htln | awk '$4 !~ /^(127\.|\[::1\])/ { sub(/.*:/, "", $4); print $4 }' | sort -nu | grep -Evx "$open" | paste -sd ' ' -)
    [ -z "$closed" ] || say "From outside these ports are closed now: $closed (--no-firewall opens them again)"
  fi
  if has ufw && ufw status 2>/dev/null | grep -q '^Status: active'; then
    say "ufw is on as well: ufw allow $port/tcp lets control centres in."
  elif systemctl is-active -q firewalld.service; then
    say "firewalld is on as well: firewall-cmd --permanent --add-port=$port/tcp && firewall-cmd --reload"
  fi
}

remove_firewall() {
  [ -e "$units/dtma-firewall.service" ] || return 0
  systemctl disable -q --now dtma-firewall.service || true
  rm -f "$units/dtma-firewall.service" "$home/firewall.nft"
  systemctl daemon-reload
}

# --- starting, and going back

# Units of an agent that is not ours but is started under its name or with the same settings.
list_old_units() {
  for unit in "$units"/*.service /lib/systemd/system/*.service; do
    name=${unit##*/}
    if [ ! -f "$unit" ] || [ "$name" = dtma-firewall.service ]; then continue; fi
    if grep -q '/opt/dtma/current/' "$unit"; then continue; fi
    # One below /lib is hidden by its namesake.
    if [ "$unit" != "$units/$name" ] && [ -e "$units/$name" ]; then continue; fi
    if [ "$unit" = "$units/dtma.service" ]; then
      echo "$name"
    elif grep -Eq '^(EnvironmentFile *= *-?/etc/dtma\.conf *$|ExecStart *= *[-@:+!]*[^ ]*/dtma( |$))' "$unit" && is_in_use "$name"; then
      echo "$name"
    fi
  done
}

is_in_use() { systemctl is-active -q "$1" || [ "$(systemctl is-enabled "$1" 2>/dev/null)" = enabled ]; }

# Only what has the place of ours is moved; other units are switched off and stay where they are.
retire_old_agent() {
  for name in $(list_old_units); do
    say "Replacing the agent of $name"
    mkdir -p "$replaced"
    echo "$name" >>"$replaced/units"
    systemctl disable -q --now "$name" || true
    if [ "$name" = dtma.service ] && [ -f "$units/$name" ]; then mv "$units/$name" "$replaced/"; fi
    changed=yes
  done
  if [ -e "$link" ] && [ "$(readlink "$link" || true)" != "$home/current/bin/dtma" ]; then
    mkdir -p "$replaced"
    mv "$link" "$replaced/command"
  fi
}

# True when it runs. Nothing of ours had been at work here before, so nothing of ours stays in its way.
restore_old_agent() {
  systemctl disable -q --now dtma.service || true
  remove_firewall
  rm -f "$units/dtma.service" "$home/current" "$link"
  [ ! -f "$replaced/dtma.service" ] || mv "$replaced/dtma.service" "$units/"
  [ ! -e "$replaced/command" ] || mv "$replaced/command" "$link"
  put_back_settings
  systemctl daemon-reload
  names=$(sort -u "$replaced/units")
  rm -rf "$replaced" "$release"
  for name in $names; do
    say "Starting the agent of $name again."
    systemctl enable -q --now "$name" || true
  done
  # One that cannot start has had the time to say so.
  sleep 3
  for name in $names; do systemctl is-active -q "$name" || return 1; done
}

# The new does: what it replaced is for a person to look at, and a token in clear for nobody.
settle() {
  rm -f "$replaced/dtma.conf"
  rmdir "$replaced" 2>/dev/null || [ ! -d "$replaced" ] || { rm -rf "$home/before" && mv "$replaced" "$home/before"; }
}

point_to() {
  ln -sfn "$1" "$home/current.new"
  mv -T "$home/current.new" "$home/current"
  write_if_different "$units/dtma.service" 0644 <"$1/dtma.service"
  systemctl daemon-reload
}

# Also one that is just about to be restarted after a failure starts to be counted anew.
restart() {
  systemctl restart dtma.service || true
  restarts_before=$(count_restarts)
}

count_restarts() { systemctl show -p NRestarts --value dtma.service; }

is_ready() { "$home/current/bin/dtma" health >"$work/health" 2>&1; }

# A service that has ended three times will not get ready.
wait_until_ready() {
  deadline=$(($(date +%s) + wait_seconds))
  while [ "$(date +%s)" -lt "$deadline" ]; do
    if [ -s /run/dtma/ready ] && is_ready; then return 0; fi
    if [ $(($(count_restarts) - restarts_before)) -ge 3 ]; then break; fi
    sleep 1
  done
  return 1
}

start() {
  previous=$(readlink "$home/current" || true)
  [ "$previous" = "$release" ] || changed=yes
  unsettled=no
  retire_old_agent
  point_to "$release"
  ln -sfn "$home/current/bin/dtma" "$link"
  systemctl enable -q dtma.service
  if [ "$changed" = no ] && systemctl is-active -q dtma.service && is_ready; then
    settle
    return
  fi
  since=$(date +%s)
  restart
  if wait_until_ready; then
    settle
    # With other settings only, the release to go back to is the one it was.
    [ "$previous" = "$release" ] || prune_releases
    return
  fi
  explain
  go_back
}

explain() {
  {
    echo "The DTMA $version did not get ready within its time. $(cat "$work/health" 2>/dev/null || true)"
    echo 'Its last words:'
    journalctl -q -u dtma.service --since "@$since" -o cat -n 15 --no-pager | sed 's/^/  /'
  } >&2
}

go_back() {
  if [ -n "$previous" ] && [ "$previous" != "$release" ] && [ -d "$previous" ]; then
    run_again "$previous"
    rm -rf "$release"
    if wait_until_ready; then
      settle
      fail "The release before, $(cat "$previous/VERSION"), runs again."
    fi
    fail "The release before, $(cat "$previous/VERSION"), was started again but does not answer either."
  fi
  if [ -s "$replaced/units" ]; then
    if restore_old_agent; then fail 'The agent that was here before runs again.'; fi
    fail 'The agent that was here before was started again but does not run either. See: journalctl -e'
  fi
  if [ "$previous" = "$release" ] && [ -e "$replaced/dtma.conf" ] && ! cmp -s "$replaced/dtma.conf" "$conf"; then
    run_again "$release"
    if wait_until_ready; then
      settle
      fail 'It runs again with the settings before.'
    fi
    fail 'It was started again with the settings before but does not answer either.'
  fi
  rm -f "$replaced/dtma.conf"
  fail 'There is no release to go back to. It goes on trying to start; run install.sh again once the cause is mended.'
}

# A release that ran before, with the settings it had.
run_again() {
  systemctl stop dtma.service || true
  point_to "$1"
  put_back_settings
  restart
  [ "$wait_seconds" -ge 90 ] || wait_seconds=90
  if [ "$(setting PORT)" != "$port" ]; then
    port=$(setting PORT)
    install_firewall
  fi
}

# The one that runs and the one before it stay.
prune_releases() {
  for folder in "$home"/releases/* "$home"/releases/.new; do
    case $folder in "$release" | "$previous") ;; *) rm -rf "$folder" ;; esac
  done
}

show() {
  address=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' /run/dtma/ready)
  token=$(sed -n 's/.*"token":"\([^"]*\)".*/\1/p' /run/dtma/ready)
  say ''
  say "The DTMA $version runs."
  say "  Address      $address"
  say "  Fingerprint  $("$home/current/bin/dtma" fingerprint)"
  if [ -n "$enrolment" ]; then
    say "  Enrolment    until $(date -u -d "@${enrolment#*:}" '+%Y-%m-%d %H:%M:%S UTC'), with the key of the control centre"
  elif [ -n "$token" ]; then
    say "  Token        $token   (shown this once)"
  fi
  say 'Before you trust it, compare this fingerprint with the one the control centre shows.'
  say 'dtma doctor looks after this machine.'
  # The token was told, or is not wanted.
  [ -z "$token" ] || sed -i 's/,"token":"[^"]*"//' /run/dtma/ready
}

# --- taking it away

uninstall() {
  find_data
  if [ "$confirmed" = no ]; then
    what="This removes the DTMA, its servers and their data in $data."
    if [ ! -t 1 ] || [ ! -r /dev/tty ]; then fail "$what Add --yes to do so."; fi
    printf '%s Continue? [y/N] ' "$what"
    read -r answer </dev/tty
    case $answer in y | Y | yes) ;; *) fail 'Nothing was removed.' ;; esac
  fi
  scope=$(setting DTMA_SCOPE)
  scope=${scope:-default}
  if has docker; then
    docker version >/dev/null 2>&1 || fail 'Docker does not answer, so its containers cannot be removed. Start it first.'
  elif [ -S /run/docker.sock ]; then
    fail "Docker's command is missing, so its containers cannot be removed. Install the package docker-cli first."
  fi
  systemctl disable -q --now dtma.service 2>/dev/null || true
  remove_firewall
  if has docker; then
    remove_from_docker
    remove_pulled
  fi
  remove_rules iptables
  remove_rules ip6tables
  rm -rf "$units/dtma.service" "$units/dtma.service.d" "$home" /var/lib/dtma /var/cache/dtma /run/dtma "$conf" \
    "$link" "$upgrades"
  remove_data
  systemctl daemon-reload
  systemctl reset-failed dtma.service 2>/dev/null || true
  say 'The DTMA is gone. Docker and the packages that were installed stay.'
}

# Where the data is: a name that is not absolute is one below /, where the service works.
find_data() {
  data=$(setting DTMA_DATA)
  case ${data:=/var/lib/dtma} in /*) ;; *) data=/$data ;; esac
  data=$(readlink -m "$data")
}

# Elsewhere only what a DTMA has made its own, and never a folder like /home or /srv as a whole.
remove_data() {
  [ -e "$data" ] || return 0
  case $data in
    /*/*)
      if [ -f "$data/lock" ] && [ "$(stat -c '%a %u' "$data")" = '700 0' ]; then
        # One that is mounted stays, empty.
        rm -rf "$data" 2>/dev/null || true
        if [ ! -e "$data" ] || [ -z "$(ls -A "$data")" ]; then return 0; fi
      fi
      ;;
  esac
  say "Its data folder $data stays: look at it and remove it yourself."
}

# Ids of a kind whose labels match, `{{json}}` of which is on the line.
labelled() { # kind, pattern
  case $1 in
    container) list='docker ps -aq' format='{{.Id}} {{json .Config.Labels}}' ;;
    image) list='docker images -aq' format='{{.Id}} {{json .Config.Labels}}' ;;
    network) list='docker network ls -q' format='{{.Id}} {{json .Labels}}' ;;
    volume) list='docker volume ls -q' format='{{.Name}} {{json .Labels}}' ;;
  esac
  $list | sort -u | xargs -r docker "$1" inspect --format "$format" 2>/dev/null | grep -E -- "$2" | cut -d ' ' -f 1 || true
}

remove_labelled() { # pattern, kinds
  pattern=$1
  shift
  for kind in "$@"; do
    case $kind in
      container) removal='docker rm -fv' ;;
      image) removal='docker rmi -f' ;;
      *) removal="docker $kind rm" ;;
    esac
    # Layers of an image go with it, and are then not there any more.
    # shellcheck disable=SC2086 # a command of several words
    labelled "$kind" "$pattern" | xargs -r -n 1 $removal >/dev/null 2>"$work/docker" || [ "$kind" = image ] || cat "$work/docker" >&2
  done
}

# What carries this DTMA's scope, and what all of them share once no other is left on this engine.
remove_from_docker() {
  remove_labelled "\"dev\.dtma\.scope\":\"$scope\"" container volume network image
  if [ -z "$(for kind in container volume network; do labelled "$kind" '"dev\.dtma\.'; done)" ]; then
    remove_labelled '"dev\.dtma\.' image
  fi
}

# Images that came with a pull of ours carry no label; the DTMA wrote them down. What others use stays: no force.
remove_pulled() {
  if [ ! -f "$data/images.json" ] || [ ! -x "$home/current/bin/node" ]; then return 0; fi
  program='for (const { reference, id, isOurs } of JSON.parse(fs.readFileSync(process.argv[1], "utf8")).pulled ?? [])
    if (isOurs) console.log(id, reference)'
  if ! "$home/current/bin/node" -e "$program" "$data/images.json" >"$work/pulled" 2>/dev/null; then
    say "$data/images.json cannot be read: images that were pulled stay. See: docker images"
    return 0
  fi
  while read -r id reference; do
    if [ "$(docker image inspect --format '{{.Id}}' "$reference" 2>/dev/null)" = "$id" ]; then
      docker rmi "$reference" >/dev/null 2>&1 || true
    fi
  done <"$work/pulled"
  # A name that moved on leaves an image without one; a name that is left is somebody else's.
  while read -r id reference; do
    names=$(docker image inspect --format '{{len .RepoTags}}' "$id" 2>/dev/null) || continue
    if [ "$names" != 0 ] || ! docker rmi "$id" >/dev/null 2>&1; then say "The image $reference stays: something else uses it."; fi
  done <"$work/pulled"
}

# Rules that name a bridge of our containers; Docker's own went with the networks.
remove_rules() {
  has "$1" || return 0
  bridges='br-dtma|br-dtma-gate'
  [ "$scope" = default ] || bridges="dtm[ag]-$(printf '%s' "$scope" | sha256sum | cut -c1-10)"
  for table in raw mangle nat filter; do
    { "$1" -w 5 -t "$table" -S 2>/dev/null || true; } | sed -n 's/^-A //p' | { grep -E -- "-[io] ($bridges) " || true; } |
      while read -r rule; do printf '%s\n' "$rule" | xargs "$1" -w 5 -t "$table" -D; done
  done
}

main() {
  here=
  case $0 in
    *install.sh)
      here=$(cd "$(dirname "$0")" && pwd)
      [ -f "$here/VERSION" ] || here=
      ;;
  esac
  read_options "$@"
  check_machine
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  work=$(mktemp -d)
  if [ "$action" = uninstall ]; then
    uninstall
    return
  fi
  changed=no
  if [ -z "$firewall" ] && [ -e "$home/no-firewall" ]; then firewall=no; fi
  place_release
  install_packages
  changed=no
  write_settings
  install_firewall
  start
  show
}

main "$@"
