#!/usr/bin/env bash
# Runs the tests of what lies in shared memory under the sanitisers of the compiler and under Miri.
#
# Usage:  scripts/sanitise.sh [thread] [address] [miri]     default: all three
# Needs:  rustup's toolchain `nightly` with the component rust-src, because the standard library must be instrumented too
#         (-Zbuild-std), and for miri the component miri. What is missing is said, with the command that gets it.
# Writes: target/sanitise/.
#
# What each can see:
#   thread   Accesses of two threads of one process to one address of which one writes, with nothing between that orders
#            them. It models fences not at all, atomics and the C library's locks well. It knows one address space: two
#            *processes*, or one page mapped twice, are different memory to it. So it runs the threads of the conformance
#            suite, whose ends share one mapping, and the tests of engine/src/shm. It can prove a race, never the absence of one:
#            orderings that the run did not need are the model checker's (engine/tests/loom.rs).
#   address  Accesses outside of an allocation or after its end, and leaks of the heap. The inside of a mapping (mmap, shm)
#            is one piece to it: a message that is written into its neighbour's slot is found by the payload's check only.
#   miri     Undefined behaviour of the language itself (aliasing, alignment, uninitialised memory, data races) in what needs
#            no kernel object: numbers, layouts, and rings on the heap. It knows no mmap of files, no fork and no sockets.
#
# Exit status: 0 when all ran clean, 1 after a finding, 2 when something needed is missing.
set -uo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
lacking() { echo "sanitise.sh: $1" >&2; exit 2; }

command -v rustup >/dev/null || lacking "rustup is needed to choose a toolchain, and it is not there"
rustc +nightly --version >/dev/null 2>&1 || lacking "no nightly toolchain; rustup toolchain install nightly --component rust-src miri"
[ -d "$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library" ] ||
  lacking "nightly has no rust-src; rustup component add --toolchain nightly rust-src"

# Tests whose parties are threads over one mapping, or use no kernel object at all. What forks is left out of `thread`: a
# forked child of a process with a sanitiser's threads may hang.
shm=(shm::exchange shm::lock shm::pool shm::muster)
conformance=(shm_ring:: heap_ring:: shm_slot:: posix_shm:: mmap_file:: mutex_queue:: heap_handoff:: rtrb:: eventfd::)

# run NAME RUSTFLAGS OPTIONS...: the tests, built with these flags.
run() {
  local name=$1 flags=$2
  shift 2
  echo "== $name"
  local build=(cargo +nightly test -Zbuild-std --target "$host" --target-dir "target/sanitise/$name")
  # Some builds of the toolchain refuse dependencies without the sanitiser's mark; all of them are built here, marked.
  RUSTFLAGS="$flags" "${build[@]}" --lib -- "${shm[@]}" "$@" &&
    RUSTFLAGS="$flags" "${build[@]}" --test conformance -- "${conformance[@]}" "$@"
}

failed=()
for what in "${@:-thread address miri}"; do
  for one in $what; do
    case $one in
      thread)
        TSAN_OPTIONS="halt_on_error=0 exitcode=66 die_after_fork=0" run thread "-Zsanitizer=thread" --test-threads 1 ;;
      address)
        ASAN_OPTIONS="detect_leaks=1" run address "-Zsanitizer=address" --test-threads 1 ;;
      miri)
        cargo +nightly miri --version >/dev/null 2>&1 || lacking "nightly has no miri; rustup component add --toolchain nightly miri"
        echo "== miri"
        MIRIFLAGS="-Zmiri-disable-isolation" CARGO_TARGET_DIR=target/sanitise/miri cargo +nightly miri test --lib -- \
          shm::pool shm::exchange measure::histogram campaign::schedule names::owner::tests::a_name ;;
      *) lacking "there is no $one; choose thread, address or miri" ;;
    esac || failed+=("$one")
  done
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "sanitise.sh: findings or failures under: ${failed[*]}" >&2
  exit 1
fi
echo "nothing was found"
