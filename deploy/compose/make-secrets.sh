#!/bin/sh
# Write the secrets of compose.yaml into the folder secrets/, unless they are there.
set -eu
cd "$(dirname "$0")"
# Containers read the files as other users, so the folder, not the files, keeps others out.
mkdir -p secrets
chmod 0700 secrets
umask 022

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

for name in jwt_secret secret_key postgres_password; do
    [ -s "secrets/$name" ] || random > "secrets/$name"
done
printf 'postgresql://freshly:%s@postgres:5432/freshly' "$(cat secrets/postgres_password)" \
    > secrets/database_url
