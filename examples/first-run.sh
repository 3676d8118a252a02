#!/usr/bin/env bash
# The main job, from nothing: installs shipper into .venv, ships the logs of this machine (and an access log that it
# makes, so that there is something to see) through the shared-memory channel into gzip files under demo-output/, and
# checks that every line arrived once. Needs Python 3.11 or newer; nothing else, no Hadoop.
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/_environment.sh
environment .venv .

out=demo-output
rm -rf "$out"
mkdir -p "$out/logs"
cp /var/log/*.log "$out/logs/" 2>/dev/null || true
python_of .venv - "$out/logs/access.log" <<'PY'
import random, sys
random.seed(7)
paths = ["/", "/login", "/cart", "/search?q=shoes", "/api/v1/orders", "/static/app.js", "/images/logo.png"]
with open(sys.argv[1], "w") as log:
    for n in range(200_000):
        ip = f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        log.write(
            f'{ip} - - [21/Nov/2026:{n // 10000:02d}:{n // 170 % 60:02d}:{n % 60:02d} +0000] "GET '
            f'{random.choice(paths)} HTTP/1.1" {random.choice((200, 200, 200, 304, 404, 500))} '
            f'{random.randrange(200, 90000)} "-" "Mozilla/5.0 (X11; Linux x86_64)"\n'
        )
PY
lines=$(cat "$out"/logs/*.log | wc -l)
for log in "$out"/logs/*.log; do # a last line without its newline is not a line yet
  [ -z "$(tail -c 1 "$log")" ] || echo "note: $log ends in the middle of a line; that part waits for its end"
done

sed "s|@DIR@|$PWD/$out|g" examples/main-job.properties >"$out/a1.properties"
echo
echo "--- flume-ng agent -n a1 -f $out/a1.properties    ($lines lines in $(ls "$out"/logs | wc -l) files)"
.venv/bin/flume-ng agent -n a1 -f "$out/a1.properties" --state-dir "$out/state" &
agent=$!
trap 'kill -9 $agent 2>/dev/null || true' EXIT

arrived() { find "$out/data" -name 'access*' -type f -exec zcat -f {} + 2>/dev/null | wc -l; }
for _ in $(seq 150); do
  kill -0 $agent 2>/dev/null || { echo "the agent ended early" >&2; exit 1; }
  [ "$(arrived)" -lt "$lines" ] || break
  sleep 0.2
done
kill -INT $agent
wait $agent
trap - EXIT

echo
echo "--- what arrived"
find "$out/data" -type f -printf '%10s bytes  %p\n' | sort -k3
echo "--- the first two lines of it"
find "$out/data" -type f | sort | head -n 1 | xargs zcat 2>/dev/null | head -n 2 || true
sum_in=$(cat "$out"/logs/*.log | sort | sha256sum)
sum_out=$(find "$out/data" -type f -exec zcat {} + | sort | sha256sum)
if [ "$sum_in" = "$sum_out" ] && ! find "$out/data" -name '*.tmp' | grep -q .; then
  echo "--- $lines lines in, $(arrived) lines out, each once; no .tmp file left"
else
  echo "--- in and out differ: $lines lines in, $(arrived) out" >&2
  exit 1
fi
