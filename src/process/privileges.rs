//! Giving up what is not needed once everything is bound: the tree of files, groups, the user.

use std::path::Path;

use nix::unistd::{
    Gid, Uid, chdir, chroot, getegid, geteuid, getgroups, setgid, setgroups, setuid,
};

use crate::config::Global;
use crate::io::sys::process;

/// Whether the process will run as somebody else than it started as.
pub fn will_drop(global: &Global) -> bool {
    geteuid().is_root() && global.uid.is_some_and(|uid| uid != 0)
}

/// Looks whether [`drop_all`] could work, before anything listens.
///
/// # Errors
/// The step that would fail, in haproxy's words.
pub fn possible(global: &Global) -> Result<(), String> {
    /// Bits of capabilities(7).
    const CAP_SETGID: u64 = 1 << 6;
    const CAP_SETUID: u64 = 1 << 7;
    const CAP_SYS_CHROOT: u64 = 1 << 18;
    let Some(caps) = process::effective_capabilities() else {
        return Ok(());
    };
    let denied = nix::errno::Errno::EPERM;
    if let Some(dir) = &global.chroot {
        if caps & CAP_SYS_CHROOT == 0 {
            return Err(chroot_failed(dir, denied));
        }
        if !dir.is_dir() {
            return Err(chroot_failed(dir, nix::errno::Errno::ENOENT));
        }
    }
    match (global.gid, global.uid) {
        (Some(gid), _) if gid != getegid().as_raw() && caps & CAP_SETGID == 0 => {
            Err(gid_failed(gid, denied))
        }
        (_, Some(uid)) if uid != geteuid().as_raw() && caps & CAP_SETUID == 0 => {
            Err(uid_failed(uid, denied))
        }
        _ => Ok(()),
    }
}

fn chroot_failed(dir: &Path, why: nix::errno::Errno) -> String {
    format!("Cannot chroot({}). ({})", dir.display(), why.desc())
}
fn gid_failed(gid: u32, why: nix::errno::Errno) -> String {
    format!("Cannot set gid {gid}. ({})", why.desc())
}
fn uid_failed(uid: u32, why: nix::errno::Errno) -> String {
    format!("Cannot set uid {uid}. ({})", why.desc())
}

/// chroot, then groups, group and user; then makes sure that nothing is left.
///
/// # Errors
/// The step that failed, in haproxy's words.
pub fn drop_all(global: &Global) -> Result<(), String> {
    if let Some(dir) = &global.chroot {
        jail(dir)?;
    }
    // Programs started by anybody here could not gain privileges by set-uid files. Failing (before
    // Linux 3.5) takes nothing away that was there.
    let _ = nix::sys::prctl::set_no_new_privs();
    let changes = global.uid.is_some() || global.gid.is_some();
    if changes && geteuid().is_root() && getgroups().is_ok_and(|groups| !groups.is_empty()) {
        setgroups(&[]).map_err(|e| format!("Cannot drop supplementary groups: {}", e.desc()))?;
    }
    if let Some(gid) = global.gid.map(Gid::from_raw)
        && gid != getegid()
    {
        setgid(gid).map_err(|e| gid_failed(gid.as_raw(), e))?;
    }
    if let Some(uid) = global.uid.map(Uid::from_raw)
        && uid != geteuid()
    {
        setuid(uid).map_err(|e| uid_failed(uid.as_raw(), e))?;
        verify(uid)?;
    }
    Ok(())
}

fn jail(dir: &Path) -> Result<(), String> {
    let told = |e| chroot_failed(dir, e);
    chroot(dir).map_err(told)?;
    chdir("/").map_err(told)
}

/// Nobody but root may be left with a capability, or be able to become root again.
fn verify(uid: Uid) -> Result<(), String> {
    if uid.is_root() {
        return Ok(());
    }
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err(format!("uid {uid} could become root again"));
    }
    match process::effective_capabilities() {
        Some(left) if left != 0 => Err(format!("uid {uid} is left with capabilities {left:#x}")),
        _ => Ok(()),
    }
}
