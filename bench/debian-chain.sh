#!/usr/bin/env bash
#
# Usage: bench/debian-chain.sh base FOLDER
#        bench/debian-chain.sh step FOLDER NUMBER COMMANDS
#        bench/debian-chain.sh release FOLDER
#
# A Debian system on a disk, and work done in it while QEMU records what is written. For `npm run bench -- chain`.
#
# base: makes FOLDER/disk.qcow2 (3 GiB, ext4 in a partition) and its raw state FOLDER/t0.raw.
# step: runs shell COMMANDS in that system, and leaves its raw state as FOLDER/t<NUMBER>.raw and what QEMU's persistent dirty bitmap recorded as
#       FOLDER/b<NUMBER>.json (nbdinfo's list of extents; type 1 is dirty).
# release: lets go of what a step that was killed left mounted. Fails while anything is left, so that nobody removes FOLDER with the computer's /dev in it.
#
# Needs root, loop devices and /dev/fuse; no kernel module for NBD, no virtual machine. What is written goes through QEMU's block layer, which has the disk
# exported as a file; so its bitmap is what a hypervisor would have recorded.
set -euo pipefail

fail() {
  printf 'bench/debian-chain.sh: %s\n' "$1" >&2
  exit 1
}

size=3G
granularity=65536
partition_sector=2048

# Where this computer gets its Debian packages from.
repository() {
  apt-get indextargets --format '$(REPO_URI)' | grep "$@" | sort -u | head -1
}

base() {
  local folder=$1 work mirror
  mirror=$(repository -e /debian/ -e /debian$) || fail 'apt has no Debian source (deb or debian.sources)'
  # The steps need it: better now than after minutes.
  repository security >/dev/null || fail 'apt has no Debian security source, or not its list: apt-get update'
  work=$(mktemp -d -p "$folder")
  # bookworm as it was released: upgrading it has something to do then.
  mmdebstrap --quiet --variant=minbase --mode=root \
    --include=linux-image-cloud-amd64,systemd-sysv,udev,ifupdown,isc-dhcp-client,iproute2,ca-certificates,openssh-server,less,vim-tiny,cron,logrotate,procps,locales,dbus,nginx-light,sqlite3,python3-minimal \
    bookworm "$work/root.tar" "deb $mirror bookworm main"
  mkdir "$work/root"
  tar -C "$work/root" -xpf "$work/root.tar" --numeric-owner
  rm "$work/root.tar"
  truncate -s $size "$folder/t0.raw"
  echo "$partition_sector,,L,*" | sfdisk -q "$folder/t0.raw"
  local sectors=$(($(stat -c %s "$folder/t0.raw") / 512 - partition_sector))
  mke2fs -q -t ext4 -O ^metadata_csum_seed,^orphan_file -L root -d "$work/root" \
    -E offset=$((partition_sector * 512)),root_owner=0:0 "$folder/t0.raw" $((sectors / 2))k
  rm -rf "$work"
  qemu-img convert -f raw -O qcow2 -o compat=1.1,lazy_refcounts=off "$folder/t0.raw" "$folder/disk.qcow2"
}

end_process() {
  local pid
  [[ -e $1 ]] && pid=$(<"$1") || return 0
  kill "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}

# Lets go of everything, in the order in which it has to go.
release() {
  local at device
  for at in dev sys proc; do
    if mountpoint -q "$folder/mnt/$at"; then umount "$folder/mnt/$at"; fi
  done
  if mountpoint -q "$folder/mnt"; then
    sync -f "$folder/mnt"
    umount "$folder/mnt"
  fi
  for device in $(losetup -n -O NAME -j "$folder/exported.raw"); do losetup -d "$device"; done
  end_process "$folder/daemon.pid"
  end_process "$folder/nbd.pid"
  rm -f "$folder/daemon.pid" "$folder/nbd.pid"
}

step() {
  folder=$1
  local number=$2 commands=$3 disk=$1/disk.qcow2 root=$1/mnt exported=$1/exported.raw loop
  trap release EXIT
  mkdir -p "$root"
  : >"$exported"
  qemu-img bitmap --add -g $granularity -f qcow2 "$disk" "b$number"
  qemu-storage-daemon --blockdev "driver=file,node-name=f,filename=$disk,discard=unmap" \
    --blockdev driver=qcow2,node-name=q,file=f,discard=unmap \
    --export "type=fuse,id=e,node-name=q,mountpoint=$exported,writable=on" \
    --daemonize --pidfile "$folder/daemon.pid"
  loop=$(losetup -f --show -o $((partition_sector * 512)) "$exported")
  mount -o discard "$loop" "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs sys "$root/sys"
  mount --bind /dev "$root/dev"
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  local main security
  main=$(repository -e /debian/ -e /debian$)
  security=$(repository security)
  printf 'deb %s bookworm main\ndeb %s bookworm-updates main\ndeb %s bookworm-security main\n' "$main" "$main" "$security" \
    >"$root/etc/apt/sources.list"
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no services while packages are installed
  chmod +x "$root/usr/sbin/policy-rc.d"
  chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C \
    bash -ec "$commands" >"$folder/step.log" 2>&1 </dev/null || fail "step $number failed: $(tail -c 1500 "$folder/step.log")"
  release
  # The bitmap now has this step's writes and no others.
  qemu-img bitmap --disable -f qcow2 "$disk" "b$number"
  qemu-img convert -f qcow2 -O raw "$disk" "$folder/t$number.raw"
  qemu-nbd -r -f qcow2 -B "b$number" -x d -k "$folder/nbd.sock" -t --fork --pid-file="$folder/nbd.pid" "$disk"
  nbdinfo --json "--map=qemu:dirty-bitmap:b$number" "nbd+unix:///d?socket=$folder/nbd.sock" >"$folder/b$number.json"
}

case ${1:-} in
base) base "$2" ;;
step) step "$2" "$3" "$4" ;;
release) folder=$2 && release ;;
*) fail 'usage: base FOLDER, step FOLDER NUMBER COMMANDS, or release FOLDER' ;;
esac
