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
        setgid(gid).map_err(|e| format!("Cannot set gid {gid}: {}", e.desc()))?;
    }
    if let Some(uid) = global.uid.map(Uid::from_raw)
        && uid != geteuid()
    {
        setuid(uid).map_err(|e| format!("Cannot set uid {uid}: {}", e.desc()))?;
        verify(uid)?;
    }
    Ok(())
}

fn jail(dir: &Path) -> Result<(), String> {
    let told = |e: nix::errno::Errno| format!("Cannot chroot({}): {}", dir.display(), e.desc());
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
