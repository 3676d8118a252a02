#!/usr/bin/env bash
# A real HDFS on this machine (a NameNode and a DataNode, in Java), and the logs of this machine shipped to it: what
# arrived is listed and read back by Hadoop's own shell. Needs Python 3.11 or newer, Java 17, Maven; everything lies
# below demo-output/ and .hadoop/, listens on 127.0.0.1 only, and is stopped at the end.
#
#   PYTHON_WITH_SHIPPER=...   an interpreter that has shipper and hdfs-native, instead of making .venv
#   HADOOP_LIBRARIES=...      a directory with the jars of pom.xml, instead of fetching them
set -euo pipefail
cd "$(dirname "$0")/../.."
. examples/_environment.sh
out=$(realpath -m "${1:-demo-output/hdfs}")

if ! command -v java >/dev/null; then
  echo "HDFS runs in Java: apt-get install default-jre-headless maven" >&2
  exit 1
fi
python=${PYTHON_WITH_SHIPPER:-}
if [ -z "$python" ]; then
  environment .venv '.[hdfs]'
  python=$PWD/.venv/bin/python
fi
libraries=${HADOOP_LIBRARIES:-}
if [ -z "$libraries" ]; then
  libraries=$PWD/.hadoop
  echo "--- fetching Hadoop's jars into $libraries"
  mvn -B -q -f examples/hdfs/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$libraries"
fi
flume_ng=("$python" -c 'import sys; from shipper.cli.main import flume_ng; sys.exit(flume_ng())')

rm -rf "$out"
mkdir -p "$out/logs"
echo "--- starting a NameNode and a DataNode"
coproc hdfs { exec "$python" tests/hdfs/cluster.py --libraries "$libraries" "$out/cluster"; }
cluster=$hdfs_PID
trap 'kill $cluster 2>/dev/null || true' EXIT
read -r uri <&"${hdfs[0]}" || { echo "HDFS did not start; its logs are in $out/cluster" >&2; exit 1; }
read -r web <&"${hdfs[0]}"
read -r conf <&"${hdfs[0]}"
echo "    ${uri#uri=}, its web pages ${web#web=}"
conf=${conf#conf=}
hadoop() { java -cp "$conf:$libraries/*" org.apache.hadoop.fs.FsShell "$@"; }

cp /var/log/*.log "$out/logs/" 2>/dev/null || true
"$python" - "$out/logs/access.log" <<'PY'
import random, sys
random.seed(7)
paths = ["/", "/login", "/cart", "/search?q=shoes", "/api/v1/orders", "/static/app.js", "/images/logo.png"]
with open(sys.argv[1], "w") as log:
    for n in range(200_000):
        ip = f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        log.write(f'{ip} - - [21/Nov/2026:{n // 10000:02d}:{n // 170 % 60:02d}:{n % 60:02d} +0000] "GET '
                  f'{random.choice(paths)} HTTP/1.1" {random.choice((200, 200, 304, 404))} {random.randrange(90000)}\n')
PY
for log in "$out"/logs/*.log; do # as the source ends a last line that has no newline
  [ -s "$log" ] || rm "$log"
  [ -z "$(tail -c 1 "$log" 2>/dev/null)" ] || echo >>"$log"
done
cat "$out"/logs/*.log | LC_ALL=C sort | sha256sum >"$out/sum-in"
lines=$(cat "$out"/logs/*.log | wc -l)

sed "s|@DIR@|$out|g" examples/hdfs/a1.properties >"$out/a1.properties"
echo
echo "--- flume-ng agent -n a1 -c $conf -f $out/a1.properties    ($lines lines in $(ls "$out"/logs | wc -l) files)"
"${flume_ng[@]}" agent -n a1 -c "$conf" -f "$out/a1.properties" --state-dir "$out/state" &
agent=$!
trap 'kill -9 $agent 2>/dev/null; kill $cluster 2>/dev/null || true' EXIT
for _ in $(seq 600); do
  kill -0 $agent 2>/dev/null || { echo "the agent ended early" >&2; exit 1; }
  [ -n "$(find "$out/logs" -name '*.log')" ] || break # a file that was read is called .COMPLETED
  sleep 0.2
done
kill -INT $agent
wait $agent
trap 'kill $cluster 2>/dev/null || true' EXIT

echo
echo "--- hdfs dfs -ls -R /logs"
hadoop -ls -R /logs
echo "--- the first two lines of hdfs dfs -text '/logs/*/*'"
hadoop -text '/logs/*/*' >"$out/text"
head -n 2 "$out/text"
exec {hdfs[1]}>&- # its input ends, and so does the cluster
wait "$cluster" || true
trap - EXIT
lines_out=$(wc -l <"$out/text")
if [ "$(LC_ALL=C sort "$out/text" | sha256sum)" = "$(cat "$out/sum-in")" ]; then
  echo "--- $lines lines in, $lines_out lines out, each once"
else
  echo "--- in and out differ: $lines lines in, $lines_out out" >&2
  exit 1
fi
