#!/bin/sh
# Makes the secrets of docker-compose.yml, each a file, in the folder given (default: ./secrets); keeps those that are there.
# The files can be read by all, since each container has a user of its own: the folder around them is yours alone.
set -eu
folder=${1:-secrets}
mkdir -p -m 700 "$folder"
cd "$folder"
for name in valkey_password dashboard_password postgres_password; do
  [ -e $name ] || head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >$name
done
if [ ! -e valkey_conf ]; then
  printf 'bind * -::*\nrequirepass %s\n' "$(cat valkey_password)" >valkey_conf
  printf 'user dashboard on >%s ~rq:* resetchannels -@all +@read +@connection -@dangerous +multi +exec\n' "$(cat dashboard_password)" >>valkey_conf
fi
[ -e dashboard_conf ] || printf 'RQ_DASHBOARD_REDIS_URL = "redis://dashboard:%s@valkey:6379"\n' "$(cat dashboard_password)" >dashboard_conf
for name in node_login_key node_host_key; do
  [ -e $name ] || ssh-keygen -q -t ed25519 -N '' -C "pancode $name" -f $name
done
chmod 444 -- *
