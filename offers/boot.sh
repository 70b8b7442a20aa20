#!/bin/bash
# GPUYard: fetch the agent from the broker and keep it running. Run by a machine at its first boot; safe to run again.
# As a container's command, or with GPUYARD_FOREGROUND=1, it stays; otherwise it goes on in the background.
set -eu
# The broker sets BROKER, TOKEN and KEY here.
DIR=${GPUYARD_DIR:-/opt/gpuyard}
LOG=${GPUYARD_LOG:-/var/log/gpuyard-agent.log}

umask 077
mkdir -p "$DIR"
{
    printf '%s=%q\n' BROKER "$BROKER" TOKEN "$TOKEN" KEY "$KEY" DIR "$DIR"
    cat <<'END_OF_RUN'
export HOME="${HOME:-/root}" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
# One run at a time: the lock is held for as long as this shell lives.
exec 9> "$DIR/lock"
flock -n 9 || exit 0

say() { echo "$(date -u +%FT%TZ) $KEY: $*"; }

find_python() {
    for PYTHON in python3 python3.12 python3.11 python3.13; do
        "$PYTHON" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && return
    done
    return 1
}

apt() {
    command -v apt-get > /dev/null || { say "no Python 3.11 with venv, and no apt-get to get one"; return 1; }
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y "$@" 9>&-
}

# The image's own packages stay visible: a torch that is there fits its driver and is gigabytes less to fetch.
install() {
    [ ! -e "$DIR/installed" ] || return 0
    find_python || { apt update && { apt install python3-venv; find_python || apt install python3.11-venv; }; }
    find_python || return 1
    say "installing with $(command -v "$PYTHON")"
    "$PYTHON" -m venv --clear --system-site-packages "$DIR/venv" || return 1
    wheel=$("$DIR/venv/bin/python" - "$BROKER" "$DIR" <<'END_OF_FETCH'
import hashlib, json, os, sys, urllib.request

broker, directory = sys.argv[1:]
with urllib.request.urlopen(f"{broker}/dl/", timeout=30) as answer:
    offered = json.load(answer)
name = os.path.basename(offered["wheel"])
with urllib.request.urlopen(f"{broker}/dl/{name}", timeout=120) as answer:
    raw = answer.read()
if hashlib.sha256(raw).hexdigest() != offered["sha256"]:
    sys.exit(f"{name} is not what {broker}/dl/ says: its SHA-256 differs")
with open(os.path.join(directory, name), "wb") as file:
    file.write(raw)
print(file.name)
END_OF_FETCH
    ) || return 1
    "$DIR/venv/bin/python" -m pip install --quiet "gpuyard[node] @ file://$wheel" || return 1
    touch "$DIR/installed"
}

agent='' over=''
trap 'over=1; [ -z "$agent" ] || kill -TERM "$agent" 2> /dev/null' TERM INT
pause() { sleep "$1" & wait $! || true; }

until install; do
    say "not installed; again in 10 s"
    pause 10
    [ -z "$over" ] || exit 0
done
while [ -z "$over" ]; do
    "$DIR/venv/bin/python" -m gpuyard.node --broker "$BROKER" --token "$TOKEN" --state "$DIR/state" --address auto 9>&- &
    agent=$!
    # A trapped signal interrupts `wait`; the agent is seen to its end all the same.
    while kill -0 "$agent" 2> /dev/null; do wait "$agent" || true; done
    agent=''
    [ -n "$over" ] || { say "the agent ended; again in 5 s"; pause 5; }
done
END_OF_RUN
} > "$DIR/run.sh.new"
mv "$DIR/run.sh.new" "$DIR/run.sh"

if [ $$ = 1 ] || [ -n "${GPUYARD_FOREGROUND:-}" ]; then
    exec bash "$DIR/run.sh" > >(tee -a "$LOG") 2>&1
elif command -v systemd-run > /dev/null && systemctl show --property=Version > /dev/null 2>&1; then
    systemctl is-active --quiet gpuyard-agent || systemd-run --quiet --collect --unit=gpuyard-agent \
        --property=Restart=always --property=RestartSec=5 --property=KillMode=mixed --property=TimeoutStopSec=30 \
        --property="StandardOutput=append:$LOG" --property="StandardError=append:$LOG" bash "$DIR/run.sh"
else
    nohup setsid bash "$DIR/run.sh" < /dev/null >> "$LOG" 2>&1 &
fi
