#!/usr/bin/env bash
# A SLURM cluster of one node, this machine, from Debian's packages: for tests, without a database.
#
#   one-node.sh start   installs what is missing and starts it; started already, it is started afresh
#   one-node.sh stop    stops it and removes its configuration; the packages stay
#
# It needs root. Exit status 77: it cannot or must not run here, and the last line says why.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin # which root lacks after `su` without `-`

CONF=/etc/slurm/slurm.conf
MARK="# Written by the tests of random-mask: a SLURM of one node. Removed when they end."
STATE=/run/random-mask-slurm # state, logs and process ids
PACKAGES=(slurmctld slurmd slurm-client munge)

skip() {
	echo "$*"
	exit 77
}

is_ours() { [ -f "$CONF" ] && grep -qxF "$MARK" "$CONF"; }

# A cluster that is in use must never be touched.
refuse_elsewhere() {
	[ "$(id -u)" = 0 ] || skip "setting up SLURM needs root"
	[ -z "${SLURM_CONF:-}" ] || skip "SLURM_CONF is set: there is a SLURM here already"
	if [ -e "$CONF" ]; then
		is_ours || skip "$CONF exists: there is a SLURM here already"
	elif pidof slurmctld slurmd slurmdbd sackd > /dev/null; then
		skip "a SLURM that is configured elsewhere runs here"
	fi
}

install_packages() {
	local missing=() package
	for package in "${PACKAGES[@]}"; do
		dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null | grep -qx installed || missing+=("$package")
	done
	[ ${#missing[@]} = 0 ] && return
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } > /dev/null 2>&1 ||
		skip "apt-get cannot install ${missing[*]}"
}

configure() {
	local host
	host=$(hostname -s)
	mkdir -p "$STATE/state" "$STATE/spool" "$(dirname "$CONF")"
	# Jobs find the configuration at this place only. Memory and cores are handed out, but not enforced,
	# so that no control groups are needed. `squeue` and `scontrol` must remember finished jobs.
	cat > "$CONF" <<-END
		$MARK
		ClusterName=one-node
		SlurmctldHost=$host(127.0.0.1)
		SlurmUser=root
		StateSaveLocation=$STATE/state
		SlurmdSpoolDir=$STATE/spool
		SlurmctldPidFile=$STATE/slurmctld.pid
		SlurmdPidFile=$STATE/slurmd.pid
		SlurmctldLogFile=$STATE/slurmctld.log
		SlurmdLogFile=$STATE/slurmd.log
		AuthType=auth/munge
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		JobAcctGatherType=jobacct_gather/none
		AccountingStorageType=accounting_storage/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_Core_Memory
		MpiDefault=none
		MinJobAge=3600
		ReturnToService=2
		KillWait=5
		$(slurmd -C | head -1) NodeAddr=127.0.0.1 State=UNKNOWN
		PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
	END
}

start_munge() {
	munge -n < /dev/null 2> /dev/null | unmunge > /dev/null 2>&1 && return # it runs as a service
	[ -f /etc/munge/munge.key ] || mungekey
	install -d -o munge -g munge /run/munge
	# --force: as root, of directories that it would otherwise think too open.
	munged --force --pid-file="$STATE/munged.pid" --log-file="$STATE/munged.log"
}

wait_for_node() {
	for _ in $(seq 100); do
		sinfo --noheader --format=%T 2> /dev/null | grep -qxE 'idle|mixed|allocated' && return
		sleep 0.2
	done
	echo "SLURM did not start; the ends of its logs:" >&2
	tail -n 20 "$STATE"/*.log >&2
	exit 1
}

start() {
	refuse_elsewhere
	command -v apt-get > /dev/null || skip "no apt-get here: SLURM is taken from Debian's packages"
	is_ours && stop
	install_packages
	configure
	start_munge
	slurmctld
	slurmd
	wait_for_node
	sinfo
}

end_process() {
	local id
	id=$(cat "$STATE/$1.pid" 2> /dev/null) || return 0
	[ "$(cat "/proc/$id/comm" 2> /dev/null)" = "$1" ] || return 0
	kill "$id"
	for _ in $(seq 100); do
		[ -e "/proc/$id" ] || return 0
		sleep 0.1
	done
	kill -KILL "$id"
}

stop() {
	refuse_elsewhere
	is_ours || return 0
	scancel --state=PENDING,RUNNING --user=root 2> /dev/null || true
	for _ in $(seq 50); do
		[ -n "$(squeue --noheader 2> /dev/null)" ] || break
		sleep 0.2
	done
	end_process slurmd
	end_process slurmctld
	end_process munged
	rm -rf "$STATE" "$CONF"
}

case "${1:-}" in
start | stop) "$1" ;;
*)
	sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
	exit 2
	;;
esac
