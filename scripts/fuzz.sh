#!/usr/bin/env bash
# Runs the fuzz targets in fuzz/: what reads memory that a peer can write, or text that a person can edit.
#
# Usage:  scripts/fuzz.sh [TARGET...] [--seconds N]
#         default: every target of fuzz/Cargo.toml, one after the other, 180 s each.
# Needs:  rustup's toolchain `nightly` (coverage and the address sanitiser are unstable options), cargo-fuzz, and a C++ compiler
#         for libFuzzer. What is missing is said, with the command that gets it; nothing is installed. cargo-fuzz may lie
#         anywhere in PATH (`cargo install cargo-fuzz --root DIR`, and DIR/bin in PATH). The first build fetches the crates
#         that fuzz/Cargo.toml names.
# Writes: target/fuzz/ (build, with debug assertions and overflow checks), fuzz/corpus/TARGET/ (inputs that reached new code,
#         from which the next run goes on) and fuzz/artifacts/TARGET/ (an input for each finding). None is kept in git: what
#         a fuzzer finds becomes a named test.
# Reads:  fuzz/TARGET.dict, where there is one: words that the target's readers know, and whole texts that they take.
# Begins: `folder` with every value in the place of every one of a run, one at a time, which chance alone did not try in minutes.
#
# Inputs have up to 256 bytes from the start on: libFuzzer's own way is to lengthen them slowly, by the number of inputs, and
# targets that write files get so few in minutes that theirs stayed at 4 bytes.
#
# An input that takes longer than 30 s is a hang, 1 GiB of memory is too much, and memory that is never given back is a leak: each
# is a finding like a panic or an access outside an allocation. The last
# line for a target says how far it reached: a fuzzer whose coverage stands still finds nothing, and is to be looked at.
#
# Exit status: 0 when nothing was found, 1 after a finding, 2 when something needed is missing.
set -uo pipefail
cd "$(dirname "$0")/.."
lacking() { echo "fuzz.sh: $1" >&2; exit 2; }

mapfile -t known < <(sed -n '/^\[\[bin\]\]/,/^$/s/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml)
seconds=180 targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2-}; shift ;;
    --seconds=*) seconds=${1#*=} ;;
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0"; exit 0 ;;
    *) [[ " ${known[*]} " == *" $1 "* ]] || lacking "there is no target $1; choose from: ${known[*]}"
       targets+=("$1") ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || lacking "--seconds takes a whole number of seconds, at least 1"
[ ${#targets[@]} -gt 0 ] || targets=("${known[@]}")

command -v rustup >/dev/null || lacking "rustup is needed to choose a toolchain, and it is not there"
rustc +nightly --version >/dev/null 2>&1 || lacking "no nightly toolchain; rustup toolchain install nightly --profile minimal"
cargo fuzz --version >/dev/null 2>&1 || lacking "no cargo-fuzz; cargo install cargo-fuzz"
command -v "${CXX:-c++}" >/dev/null || lacking "no C++ compiler (${CXX:-c++}) for libFuzzer; apt install g++"

build=(--target-dir target/fuzz)
for target in "${targets[@]}"; do
  cargo +nightly fuzz build "${build[@]}" "$target" || lacking "the target $target does not build"
done

# Inputs as fuzz/fuzz_targets/folder.rs reads them: file, one change, line, place (two bytes), value.
seeds_of_folder() {
  local place value
  for place in {0..95}; do
    for value in {0..13}; do
      printf -v bytes '\\x00\\x01\\x00\\x%02x\\x00\\x%02x' "$place" "$value"
      printf "$bytes" >"$1/$place-$value"
    done
  done
}

seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
seeds_of_folder "$seeds"

failed=()
for target in "${targets[@]}"; do
  echo "== $target, $seconds s"
  log=$(mktemp)
  mkdir -p "fuzz/corpus/$target"
  words=()
  if [ -e "fuzz/$target.dict" ]; then words=("-dict=fuzz/$target.dict"); fi
  corpus=("fuzz/corpus/$target")
  if [ "$target" = folder ]; then corpus+=("$seeds"); fi
  cargo +nightly fuzz run "${build[@]}" "$target" "${corpus[@]}" -- \
    -max_total_time="$seconds" -timeout=30 -rss_limit_mb=1024 -len_control=0 -max_len=256 -print_final_stats=1 "${words[@]}" 2>&1 | tee "$log" |
    grep -v "^#[0-9]*\s*\(NEW\|REDUCE\|pulse\)"
  status=${PIPESTATUS[0]}
  # Edges (cov) and features (ft) of the first line that has them, and at the end.
  first=$(sed -n 's/^#[0-9]*\s.* cov: \([0-9]*\) ft: \([0-9]*\).*/\1 \2/p' "$log" | head -n 1)
  last=$(sed -n 's/^#[0-9]*\s.* cov: \([0-9]*\) ft: \([0-9]*\).*/\1 \2/p' "$log" | tail -n 1)
  runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log" | tail -n 1)
  rm -f "$log"
  echo "$target: ${runs:-?} inputs; edges and features ${first:-? ?} at first, ${last:-? ?} at the end"
  [ "$status" -eq 0 ] || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "fuzz.sh: findings under: ${failed[*]}; their inputs are in fuzz/artifacts/" >&2
  exit 1
fi
echo "nothing was found"
