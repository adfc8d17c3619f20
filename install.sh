#!/usr/bin/env bash
# AEGIS on this machine.
#
#   ./install.sh --try     build the appliance and run it here, under ./.aegis, on 127.0.0.1. Ctrl-C stops it.
#
# A second run starts in seconds. `rm -rf .aegis` forgets everything that was tried. Outside this directory it installs
# the Debian packages that a build needs; and where root runs it in a directory that others may not enter, PostgreSQL
# keeps its files under /var/lib/aegis-postgres (the log says where), since it never runs as root.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit "${1:-2}"
}

[ $# -eq 1 ] || usage
case "$1" in
    --try) ;;
    -h | --help) usage 0 ;;
    *) echo "install.sh: unknown option: $1" >&2; usage ;;
esac

say() { printf '%s\n' "$*" >&2; }

home=$PWD/.aegis
listen=${AEGIS_TRY_LISTEN:-127.0.0.1:8480}
unset AEGIS_TRY_LISTEN # it is ours; to aegis every AEGIS_ variable is a setting
owner=demo@marlow-finch.example
mkdir -p "$home"

packaging/build-release >&2
aegis=${CARGO_TARGET_DIR:-$PWD/target}/$(rustc -vV | sed -n 's/^host: //p')/release/aegis

# The small chat model that real answers come from when no Ollama runs on this machine.
mkdir -p "$home/models"
cp --update --reflink=auto .pack/models/*.gguf "$home/models/"

config=$home/config.toml
[ -e "$config" ] || printf '# Settings of this trial; config.example.toml explains every key.\n[server]\nlisten = "%s"\n' "$listen" >"$config"
run() { "$aegis" --config "$config" --data-dir "$home" "$@"; }

say "Starting AEGIS …"
log=$home/aegis.log
(umask 077 && : >>"$log")
AEGIS_LOG__FORMAT=text "$aegis" --config "$config" --data-dir "$home" serve 2> >(tee -a "$log" >&2) &
server=$!
trap 'kill -TERM "$server" 2>/dev/null; wait "$server"; exit' INT TERM

address=$(sed -n 's/^listen = "\(.*\)"/\1/p' "$config")
ready() { run --json tenant list >/dev/null 2>&1; }
for _ in $(seq 300); do
    [ -S "$home/admin.sock" ] && ready && break
    kill -0 "$server" 2>/dev/null || { say "AEGIS did not start; the lines above say why."; exit 1; }
    sleep 0.1
done

# Once: a tenant, its owner, a few documents to ask about.
secret=$home/demo-owner-password
if [ ! -e "$secret" ]; then
    [ -s "$secret.new" ] || (umask 077 && head -c 12 /dev/urandom | base64 | tr '+/' 'xy' >"$secret.new")
    run --json tenant list | grep -q '"slug":"demo"' || run tenant create demo --name "Marlow & Finch" >/dev/null
    run user create "$owner" --tenant demo --role owner --name "Demo Owner" --password-stdin <"$secret.new" >/dev/null
    say "Reading the sample documents …"
    run kb add --tenant demo packaging/samples/*.md
    mv "$secret.new" "$secret"
fi

cat >&2 <<TXT

  AEGIS runs.   Console:   http://$address
                E-mail:    $owner
                Password:  $(cat "$secret")

  In a second terminal:
    alias aegis='$aegis --config $config --data-dir $home'
    aegis ask --tenant demo "How many weeks of parental leave are there at full pay?"
    aegis kb add --tenant demo YOUR.pdf
    aegis kb search --tenant demo "warranty of a frame"
    aegis doctor

  Ctrl-C stops it; ./install.sh --try starts it again.

TXT
wait "$server"
