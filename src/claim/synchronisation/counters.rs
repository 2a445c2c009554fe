//! Workers that add: to counters, to words that lie close together, and in two steps where one would do.
//!
//! Contention whose counter does not hold what was added makes the launch invalid.

use super::Counter;
use super::crew::Crew;
use crate::claim::{Values, values};
use crate::error::{Error, Result};
use crate::shm::board::{Board, WORKERS};
use crate::shm::futex::Scope;
use crate::sys::clock;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Operations between two looks at the clock, which costs as much as some of them.
const BATCH: u64 = 64;

/// Repeats `op` until the end; how often it was done. An `op` that is false was not done because the end came.
#[inline(always)]
fn until(end: u64, mut op: impl FnMut() -> bool) -> u64 {
    let mut done = 0;
    while clock::now() < end {
        for _ in 0..BATCH {
            if !op() {
                return done;
            }
            done += 1;
        }
    }
    done
}

// ------------------------------------------------------------------------------------------------------- contention

/// The words of the board that the counters use: the counter itself and the spin lock, 128 bytes apart.
const COUNTER: usize = 0;
const SPIN_LOCK: usize = 16;

/// Adds one by one access; always done.
#[inline(always)]
fn add_in_one_step(word: &AtomicU64) -> bool {
    word.fetch_add(1, Ordering::Relaxed);
    true
}

/// Adds one by two accesses: right under a lock only. Always done.
#[inline(always)]
fn add_in_two_steps(word: &AtomicU64) -> bool {
    // Relaxed: whoever needs an order gets it from the lock around it.
    word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    true
}

/// Spins until the lock is free; false when the end came first.
#[inline(always)]
fn spin_for(lock: &AtomicU64, end: u64) -> bool {
    // Acquire: pairs with the release that frees it.
    while lock.swap(1, Ordering::Acquire) != 0 {
        let mut looks = 0_u32;
        // Only reading, so that the line stays shared among those who wait.
        while lock.load(Ordering::Relaxed) != 0 {
            spin_loop();
            looks += 1;
            if looks.is_multiple_of(1024) && clock::now() >= end {
                return false;
            }
        }
    }
    true
}

fn add(board: &Board, counter: Counter, index: usize, scope: Scope, end: u64) -> u64 {
    let word = &board.words[COUNTER];
    match counter {
        Counter::Atomic => until(end, || add_in_one_step(word)),
        Counter::Sharded => {
            let own = &board.own[index].0;
            until(end, || add_in_one_step(own))
        }
        Counter::Mutex => {
            let lock = &board.locks[0];
            let rest = || Duration::from_nanos(end.saturating_sub(clock::now()));
            until(end, || {
                (lock.try_lock() || lock.lock_within(scope, rest())) && {
                    add_in_two_steps(word);
                    lock.unlock(scope);
                    true
                }
            })
        }
        Counter::Spin => {
            let lock = &board.words[SPIN_LOCK];
            until(end, || {
                spin_for(lock, end) && {
                    add_in_two_steps(word);
                    lock.store(0, Ordering::Release);
                    true
                }
            })
        }
    }
}

/// Additions per second by count of workers, and the law that fits them.
pub(super) fn contention(crew: &Crew, counter: Counter, workers: &[usize], window: u64) -> Result<Values> {
    let (board, scope, each) = (&*crew.board, crew.scope(), window / workers.len() as u64);
    let mut found = Values::new();
    let mut points = Vec::new();
    for &n in workers.iter().filter(|n| **n <= WORKERS) {
        let added: u64 = crew.alone(n, |index, start| add(board, counter, index, scope, start + each))?.iter().sum();
        let counted: u64 = match counter {
            Counter::Sharded => board.own.iter().map(|own| own.0.load(Ordering::Acquire)).sum(),
            _ => board.words[COUNTER].load(Ordering::Acquire),
        };
        if counted != added {
            return Err(Error::invalid(format!("{added} additions were made and {counted} counted")));
        }
        let rate = added as f64 * 1e9 / each as f64;
        found.insert(format!("ops_per_s_{n}"), rate);
        points.push((n as f64, rate));
    }
    points.retain(|(n, _)| *n <= crew.cpus.len() as f64);
    if let Some((waiting, talking)) = fit(&points) {
        found.insert("waiting_share".into(), waiting);
        found.insert("talking_share".into(), talking);
    }
    Ok(found)
}

/// The two shares of Gunther's law by least squares on X(1) n / X(n) - 1 = s (n - 1) + k n (n - 1); `None` with fewer than
/// two counts above one, or without one worker alone.
fn fit(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let alone = points.iter().find(|(n, _)| *n == 1.0)?.1;
    let above: Vec<_> = points.iter().filter(|(n, rate)| *n > 1.0 && *rate > 0.0).collect();
    if above.len() < 2 {
        return None;
    }
    // The normal equations of two columns.
    let (mut aa, mut ab, mut bb, mut ay, mut by) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (n, rate) in above {
        let (a, b, y) = (n - 1.0, n * (n - 1.0), alone * n / rate - 1.0);
        aa += a * a;
        ab += a * b;
        bb += b * b;
        ay += a * y;
        by += b * y;
    }
    let determinant = aa * bb - ab * ab;
    (determinant > 0.0).then(|| ((bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant))
}

// ---------------------------------------------------------------------------------------------------- false sharing

/// Bytes between the two words.
pub(super) const DISTANCES: [usize; 7] = [0, 8, 16, 32, 64, 128, 256];
pub(super) const FARTHEST: usize = 256;

pub(super) fn at_distance(bytes: usize) -> String {
    format!("share_of_farthest_{bytes}")
}

/// Additions of two workers by distance of their words, as a share of those at the largest distance.
pub(super) fn false_sharing(crew: &Crew, window: u64) -> Result<Values> {
    if crew.cpus.len() < 2 {
        return Err(Error::unsupported("false sharing needs two CPUs").hint("allow the program a second CPU"));
    }
    let (board, each) = (&*crew.board, window / DISTANCES.len() as u64);
    let mut rates = Vec::new();
    for distance in DISTANCES {
        let added = crew.alone(2, |index, start| {
            let word = &board.words[index * distance / size_of::<u64>()];
            until(start + each, || add_in_one_step(word))
        })?;
        rates.push((distance, added.iter().sum::<u64>() as f64));
    }
    let farthest = rates.iter().find(|(distance, _)| *distance == FARTHEST).map_or(f64::NAN, |(_, rate)| *rate);
    Ok(rates.into_iter().map(|(distance, rate)| (at_distance(distance), rate / farthest)).collect())
}

// ---------------------------------------------------------------------------------------------------- lost updates

/// Updates made and lost by two workers, by load and store and by atomic additions.
pub(super) fn lost_updates(crew: &Crew, window: u64, planted: bool) -> Result<Values> {
    let word = &crew.board.words[COUNTER];
    let lost = |atomic: bool| -> Result<[f64; 2]> {
        let made = crew.alone(2, |_, start| {
            let end = start + window / 2;
            match (atomic, planted) {
                (true, false) => until(end, || add_in_one_step(word)),
                (true, true) => until(end, || {
                    let seen = word.load(Ordering::Relaxed);
                    // Lets the other worker in between, also on one CPU.
                    std::thread::yield_now();
                    word.store(seen + 1, Ordering::Relaxed);
                    true
                }),
                (false, _) => until(end, || add_in_two_steps(word)),
            }
        })?;
        let made: u64 = made.iter().sum();
        Ok([made as f64, made.saturating_sub(word.load(Ordering::Acquire)) as f64])
    };
    let ([made, gone], [atomic_made, atomic_gone]) = (lost(false)?, lost(true)?);
    Ok(values([
        ("updates", made),
        ("lost", gone),
        ("lost_share", gone / made.max(1.0)),
        ("atomic_updates", atomic_made),
        ("atomic_lost", atomic_gone),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_is_recovered_from_what_it_says_and_not_fitted_to_less() {
        let of = |n: f64| (n, 5e6 * n / (1.0 + 0.07 * (n - 1.0) + 0.01 * n * (n - 1.0)));
        let (waiting, talking) = fit(&[1.0, 2.0, 4.0, 8.0].map(of)).unwrap();
        assert!((waiting - 0.07).abs() < 1e-9 && (talking - 0.01).abs() < 1e-9);
        assert_eq!(fit(&[1.0, 2.0].map(of)), None);
        assert_eq!(fit(&[2.0, 4.0, 8.0].map(of)), None);
    }
}
