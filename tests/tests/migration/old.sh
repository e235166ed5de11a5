# What opencode-sandbox derived from a project's config, by its documented rules (COMPATIBILITY 4.3 to 4.18), written for this
# test alone: run in the project's directory, prints one fact a line, sorted by the caller.
set -u
config=opencode-sandbox-config.yaml

# 4.3: the first line that begins with the key; a comment and trailing spaces are cut.
name=$(sed -nE 's/^sandbox-name:[[:space:]]*([^#[:space:]][^#]*).*$/\1/p' "$config" | head -n 1 | sed -E 's/[[:space:]]+$//')
[[ $name =~ ^[a-z0-9][a-z0-9-]*[a-z0-9]$|^[a-z0-9]$ ]] || { echo "refused name"; exit 0; }

# 4.4, 4.5: six digits of the checksum of the real path.
root=$(realpath .)
sum=$(printf %s "$root" | cksum | cut -d' ' -f1)
hex=$(printf %x "$sum")
echo "id $name-${hex:0:6}"
echo "workspace /$(basename "$root")"

# 4.14: line by line; what matches nothing is ignored.
header='^([a-z-]+):$' item='^[[:space:]]+-[[:space:]]+(.+)$' pair='^[[:space:]]+([^[:space:]:]+):[[:space:]]+(.+)$'
section= passed= static=
while IFS= read -r line || [ -n "$line" ]; do
  [[ $line =~ ^[[:space:]]*(#|$) ]] && continue
  if [[ $line =~ $header ]]; then section=${BASH_REMATCH[1]}; continue; fi
  case $section in
    http-domain-whitelist) [[ $line =~ $item ]] && echo "domain ${BASH_REMATCH[1]}";;
    host-ports) [[ $line =~ $item ]] && echo "port ${BASH_REMATCH[1]}";;
    env-passthrough) [[ $line =~ $pair ]] && passed+="${BASH_REMATCH[1]}=${BASH_REMATCH[2]}"$'\n';;
    env) [[ $line =~ $pair ]] && static+="${BASH_REMATCH[1]}=${BASH_REMATCH[2]}"$'\n';;
  esac
done <"$config"

# 4.17, 4.18: unset is skipped, empty is passed; static comes later, and the last of a name counts.
declare -A variables
while IFS='=' read -r inside host; do
  [ -n "$inside" ] || continue
  if [ -n "${!host+set}" ]; then variables[$inside]=${!host}; else echo "skipped $inside"; fi
done <<<"$passed"
while IFS='=' read -r inside value; do
  [ -n "$inside" ] && variables[$inside]=$value
done <<<"$static"
for inside in "${!variables[@]}"; do echo "variable $inside=${variables[$inside]}"; done
