#!/usr/bin/env bash
# Writes packages.txt: Debian's packages for the image for pipelines, with everything that
# they depend on, as architecture, SHA-256 and path in the archive. Run it on Debian or
# Ubuntu to take over Debian's fixes, and when the archive has dropped a version.
set -euo pipefail
cd "$(dirname "$0")"
release=bookworm
packages=(curl dash coreutils grep jq openssl sed)
key=/usr/share/keyrings/debian-archive-keyring.gpg

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{lists,archives}/partial
{
  echo "deb [signed-by=$key] http://deb.debian.org/debian $release main"
  echo "deb [signed-by=$key] http://deb.debian.org/debian-security $release-security main"
} >"$scratch/sources"

# list ARCHITECTURE: nothing is installed, so that everything is listed.
list() {
  local apt=(apt-get -qq -o Dir::Etc::sourcelist="$scratch/sources" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$scratch/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$scratch"
    -o APT::Architecture="$1" -o APT::Architectures="$1" -o APT::Install-Recommends=false
    -o APT::Sandbox::User=root -o Acquire::ForceHash=SHA256)
  "${apt[@]}" update >&2
  "${apt[@]}" --print-uris install "${packages[@]}" |
    sed -nE "s|^'http://deb.debian.org/([^']+)' .* SHA256:([0-9a-f]{64})\$|$1 \2 \1|p" |
    grep -vE '/(debianutils|dpkg|tar)_' # which only installing takes
}

{
  echo "# Written by packages.sh."
  list amd64 | sort -k3
  list arm64 | sort -k3
} >"$scratch/packages.txt"
mv "$scratch/packages.txt" packages.txt
