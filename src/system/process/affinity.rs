//! On which CPUs this process runs, and what it starts.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::base::cpus::{CpuList, MAX_CPUS};
use crate::base::error::{Context, Error, Result};

/// Runs this thread, and all threads and processes that it starts from now on, only on these CPUs.
///
/// # Errors
/// A CPU that this host does not have, or that this process must not use; with those that it may.
pub fn run_on(cpus: &CpuList) -> Result<()> {
    let before = current()?;
    // A process may leave the CPUs that it was started on, though not those of its control group: the kernel says which.
    let everything = CpuList((0..MAX_CPUS).collect());
    set(&everything)?;
    let possible = current()?;
    let missing = cpus.without(&possible);
    if !missing.0.is_empty() {
        set(&before)?;
        let why =
            format!("this process cannot run on CPU {missing}: the CPUs of this host that it may use are {possible}");
        return Err(Error::new(why));
    }
    set(cpus)
}

/// Keeps this thread, and all that it starts from now on, off these CPUs; the CPUs that are left.
///
/// # Errors
/// No CPU is left, or one of the list does not exist.
pub fn keep_off(cpus: &CpuList) -> Result<CpuList> {
    let before = current()?;
    run_on(cpus)?;
    set(&before)?;
    let rest = before.without(cpus);
    if rest.0.is_empty() {
        let why = format!("no CPU is left for the servers: this process may use {before}, and the client gets {cpus}");
        return Err(Error::new(why));
    }
    set(&rest)?;
    Ok(rest)
}

/// The CPUs that this thread may run on now.
///
/// # Errors
/// When the system does not say.
pub fn current() -> Result<CpuList> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("cannot read the CPUs of this process")?;
    Ok(CpuList((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()))
}

fn set(cpus: &CpuList) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in &cpus.0 {
        set.set(*cpu).context(format!("CPU {cpu} is too high a number"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context(format!("cannot run on CPU {cpus}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_where_it_is_told() {
        // On a thread of its own: others keep their CPUs.
        std::thread::spawn(|| {
            let all = current().unwrap();
            let first = CpuList(all.0.first().copied().into_iter().collect());
            if all.0.len() > 1 {
                let rest = keep_off(&first).unwrap();
                assert_eq!((rest.clone(), current().unwrap()), (all.without(&first), rest));
                // The way back is open.
                run_on(&first).unwrap();
            }
            run_on(&first).unwrap();
            assert_eq!(current().unwrap(), first);
            let error = run_on(&"1023".parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains("CPU 1023") && error.contains("may use are"), "{error}");
            assert_eq!(current().unwrap(), first, "nothing has changed");
            let error = keep_off(&first).unwrap_err().to_string();
            assert!(error.contains("no CPU is left"), "{error}");
        })
        .join()
        .unwrap();
    }
}
