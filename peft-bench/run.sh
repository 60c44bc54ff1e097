#!/bin/sh
# Measures this library and Hugging Face PEFT side by side and prints a table with ratios.
#
#   peft-bench/run.sh [--python PYTHON] [--threads N] [--rounds N] [--tiny] [--only SCENARIO]...
#                     [--output DIR] [--gguf FILE]
#
# PYTHON needs torch, transformers and peft; without it only this library is measured. The two sides
# take turns, so that what else the machine does falls on both. --tiny runs everything once on toy
# shapes, to see that it runs. The scenario gguf reads FILE and needs llama-cpp-python beside it.
set -eu

python=""
threads=$(getconf _NPROCESSORS_ONLN)
rounds=3
tiny=""
only=""
here=$(cd "$(dirname "$0")" && pwd)
output="$here/target/bench"
gguf="model.gguf"
while [ $# -gt 0 ]; do
  case "$1" in
    --python) python=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --tiny) tiny="--tiny"; rounds=1; shift ;;
    --only) only="$only $2"; shift 2 ;;
    --output) output=$2; shift 2 ;;
    --gguf) gguf=$2; shift 2 ;;
    *) echo "unknown option $1" >&2; sed -n '2,10p' "$0" >&2; exit 2 ;;
  esac
done
[ -n "$only" ] || only="idle merge micro nf4 load train-8x128 train-32x64 generate-135m generate-1b generate-4bit"

mkdir -p "$output"
output=$(cd "$output" && pwd)
results="$output/results.jsonl"
: > "$results"

# A class path of jars, as an application has it.
if [ -z "${PEFT4J_BENCH_CLASSPATH:-}" ]; then
  mvn -q -B -f "$here/../pom.xml" -pl peft-bench -am -DskipTests -Dmaven.javadoc.skip=true \
    -Dmaven.source.skip=true -Dspotless.check.skip=true package \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath \
    -Dmdep.outputFile="$output/classpath" -Dmdep.includeScope=runtime
  PEFT4J_BENCH_CLASSPATH="$here/target/classes:$(cat "$output/classpath")"
fi
java_options="-Xmx2g -Dai.djl.offline=true -Dai.djl.pytorch.num_threads=$threads
  -Dai.djl.pytorch.num_interop_threads=1 --add-modules jdk.incubator.vector -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"

on_java() {
  # shellcheck disable=SC2086
  java $java_options -cp "$PEFT4J_BENCH_CLASSPATH" io.peft4j.bench.Bench "$@" $tiny \
    --output "$results" --models "$output/models" --gguf "$gguf" 2>> "$output/log"
}

on_python() {
  [ -n "$python" ] || return 0
  # shellcheck disable=SC2086
  OMP_NUM_THREADS=$threads HF_HUB_OFFLINE=1 "$python" "$here/python/peer.py" "$@" $tiny \
    --threads "$threads" --output "$results" --models "$output/models" --gguf "$gguf" 2>> "$output/log"
}

now() { date +%s%N; }

process_time() { # side figure begin end
  awk -v s="$1" -v f="$2" -v b="$3" -v e="$4" \
    'BEGIN { printf "{\"side\":\"%s\",\"figure\":\"%s\",\"value\":%.1f}\n", s, f, (e - b) / 1e6 }' \
    | tee -a "$results"
}

whole_processes() {
  for shape in bert llama; do
    begin=$(now)
    # shellcheck disable=SC2086
    java $java_options -cp "$PEFT4J_BENCH_CLASSPATH" io.peft4j.bench.FirstOutput \
      $shape "$output/models/$shape" $tiny 2>> "$output/log"
    process_time java "load.$shape.process.ms" "$begin" "$(now)"
    if [ -n "$python" ]; then
      begin=$(now)
      on_python "first-output-$shape"
      process_time python "load.$shape.process.ms" "$begin" "$(now)"
    fi
  done
}

first_tokens() { # shape
  begin=$(now)
  on_java "first-$1"
  process_time java "generate.$1.first.process.ms" "$begin" "$(now)"
  if [ -n "$python" ]; then
    begin=$(now)
    on_python "first-token-$1"
    process_time python "generate.$1.first.process.ms" "$begin" "$(now)"
  fi
}

# Lengths at 4,096 tokens, then rows, then ranks.
growing="16x256 8x512 4x1024 2x2048 1x4096 1x256 2x256 4x256 8x256 4x256r16 4x256r32 4x256r64 4x256r128"
expanded=""
for scenario in $only; do
  case "$scenario" in
    train-135m | train-1b) expanded="$expanded $scenario-4x256 $scenario-1x2048" ;;
    growth)
      for size in $growing; do expanded="$expanded growth-$size"; done ;;
    *) expanded="$expanded $scenario" ;;
  esac
done

for scenario in $expanded; do
  case "$scenario" in
    load) on_java prepare ;;
    generate-*) on_java "prepare-${scenario#generate-}" ;;
    train-135m* | growth-*) on_java prepare-135m ;;
    train-1b*) on_java prepare-1b ;;
  esac
  round=1
  while [ "$round" -le "$rounds" ]; do
    echo "== $scenario, round $round of $rounds"
    case "$scenario" in
      load) on_java load; on_python load; whole_processes ;;
      growth-*)
        on_java "train-135m-${scenario#growth-}-fastest"
        on_python "train-135m-${scenario#growth-}-bf16" ;;
      train-135m-* | train-1b-*)
        for kind in fp32 fastest; do
          on_java "$scenario-$kind"
          on_java "$scenario-$kind-recomputed"
        done
        on_java "$scenario-fastest-recorded"
        for kind in fp32 bf16; do
          on_python "$scenario-$kind"
          on_python "$scenario-$kind-recomputed"
        done ;;
      train-*)
        for kind in fp32 fastest; do on_java "$scenario-$kind"; done
        for kind in fp32 autocast bf16; do on_python "$scenario-$kind"; done ;;
      generate-4bit)
        on_java generate-4bit
        for kind in bf16 fp32; do on_python "generate-4bit-$kind"; done ;;
      generate-*)
        on_java "$scenario"
        for kind in bf16 fp32; do on_python "$scenario-$kind"; done
        first_tokens "${scenario#generate-}"
        on_java "memory-${scenario#generate-}" ;;
      methods | joint) on_java "$scenario" ;;
      micro) [ "$round" -gt 1 ] || on_java micro; on_python micro ;;
      *) on_java "$scenario"; on_python "$scenario" ;;
    esac
    round=$((round + 1))
  done
done

{
  echo "$(date -u +%Y-%m-%d), $threads threads, $rounds rounds; $(java -version 2>&1 | sed -n 2p)"
  [ -z "$python" ] || on_python versions
  echo
  java -cp "$PEFT4J_BENCH_CLASSPATH" io.peft4j.bench.Report "$results"
  case "$expanded" in
    *growth*) java -cp "$PEFT4J_BENCH_CLASSPATH" io.peft4j.bench.Growth "$results" "$output/growth.png" ;;
  esac
} | tee "$output/report.md"
