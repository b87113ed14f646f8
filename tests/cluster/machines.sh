#!/usr/bin/env bash
# Several machines on one computer, made of Linux namespaces. Each has its own network address, host name, processes, home folder,
# /tmp, /srv and /dev/shm. All see the rest of the disk, and the folders in SHARED like an NFS mount. Needs root and iproute2.
#   machines.sh up NAME...       a bridge, and machines at NET.1, NET.2, ... in the order given
#   machines.sh on NAME COMMAND  run a command on a machine
#   machines.sh off NAME         cut its power: end all its processes and delete its private files at once
#   machines.sh again NAME       put a new machine in its place, at its address
#   machines.sh cut NAME | heal NAME   disconnect its network cable | reconnect it
#   machines.sh down             remove everything
# Environment: RUN, a folder for the script's files (a short path that all machines see); BRIDGE, the name of the bridge, which is
# also the prefix of network namespaces and interfaces (at most 8 characters); NET, the first three numbers of the addresses, such
# as 10.77.3; SHARED, folders that all machines see although they are below /tmp, /srv or /root; OWNER, a process with whose end
# everything is removed.
set -euo pipefail
: "${RUN:?a folder for the files of this script}" "${BRIDGE:?}" "${NET:?}" "${SHARED:=}"
self=$(readlink -f "$0")

up() {
  local number=0
  ip link add "$BRIDGE" type bridge # fails if another run uses this name, and with it this network
  mkdir -p "$RUN"
  ip link set "$BRIDGE" up
  for name in "$@"; do
    number=$((number + 1))
    echo "$NET.$number $name" >> "$RUN/hosts"
  done
  for name in "$@"; do start "$name"; done
  if [ -n "${OWNER:-}" ]; then setsid bash "$self" watch > /dev/null 2>&1 < /dev/null & fi
}

watch() {
  while [ -e "$RUN/hosts" ] && kill -0 "$OWNER"; do sleep 1; done
  [ ! -e "$RUN/hosts" ] || down
}

start() { # NAME
  local number address namespace
  read -r number address < <(awk -v name="$1" '$2 == name {print NR, $1}' "$RUN/hosts")
  namespace=$BRIDGE-$1
  ip netns add "$namespace"
  ip link add "${BRIDGE}v$number" type veth peer name eth0 netns "$namespace"
  ip link set "${BRIDGE}v$number" master "$BRIDGE" up
  ip -n "$namespace" addr add "$address/24" dev eth0
  ip -n "$namespace" link set eth0 up
  ip -n "$namespace" link set lo up
  setsid ip netns exec "$namespace" unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc \
    bash "$self" boot "$1" > "$RUN/$1.log" 2>&1 < /dev/null &
  for _ in $(seq 200); do
    [ -e "$RUN/$1.up" ] && break
    sleep 0.05
  done
  [ -e "$RUN/$1.up" ] || { cat "$RUN/$1.log" >&2; return 1; }
  pgrep -P $! > "$RUN/$1.pid"
}

boot() { # NAME: run as the first process of a machine
  local kept
  hostname "$1"
  kept=$(mktemp -d "$RUN/$1.kept.XXXX")
  mount -t tmpfs -o size=4g tmpfs "$kept"
  for folder in $SHARED; do
    mkdir -p "$kept/shared$folder" && mount --bind "$folder" "$kept/shared$folder"
  done
  mkdir -p "$kept/root" "$kept/work" && mount -t overlay overlay -o "lowerdir=/root,upperdir=$kept/root,workdir=$kept/work" /root
  rm -rf /root/.ray /root/.ssh # hidden by the overlay: no machine has another's tokens and keys
  sed "1r $RUN/hosts" /etc/hosts > "$kept/hosts" && mount --bind "$kept/hosts" /etc/hosts
  exec 3< "$kept" # keeps the folder reachable after /tmp is covered
  for folder in /tmp /srv /run /dev/shm; do mount -t tmpfs -o size=4g,mode=1777 tmpfs "$folder"; done
  for folder in $SHARED; do
    mkdir -p "$folder" && mount --bind "/proc/self/fd/3/shared$folder" "$folder"
  done
  touch "$RUN/$1.up"
  exec env --ignore-signal=CHLD --ignore-signal=HUP --ignore-signal=INT --ignore-signal=TERM sleep infinity 3<&- # reaps orphans
}

on() { # NAME COMMAND
  local pid
  pid=$(cat "$RUN/$1.pid")
  shift
  exec nsenter -t "$pid" -m -u -i -n -p -- "$@"
}

off() { # NAME
  local number
  number=$(awk -v name="$1" '$2 == name {print NR}' "$RUN/hosts")
  if [ -e "$RUN/$1.pid" ]; then
    pid=$(cat "$RUN/$1.pid")
    kill -9 "$pid" 2> /dev/null || true
    while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
  fi
  ip link del "${BRIDGE}v$number" 2> /dev/null || true
  ip netns del "$BRIDGE-$1" 2> /dev/null || true
  rm -rf "$RUN/$1.pid" "$RUN/$1.up" "$RUN/$1".kept.*
}

down() {
  while read -r _ name; do off "$name"; done < "$RUN/hosts"
  ip link del "$BRIDGE"
  rm "$RUN/hosts"
}

cable() { # NAME up|down
  local number
  number=$(awk -v name="$1" '$2 == name {print NR}' "$RUN/hosts")
  ip link set "${BRIDGE}v$number" "$2"
}

case $1 in
  up | on | off | boot | watch | down) "$@" ;;
  again) start "$2" ;;
  cut) cable "$2" down ;;
  heal) cable "$2" up ;;
  *) echo "unknown: $1" >&2; exit 2 ;;
esac
