//! A file system of a test's own: the directories, users and sockets that a configuration names,
//! laid over the real ones in a mount namespace which only the balancer enters.

use super::TempDir;

/// Files and directories to be seen in place of the host's. Made afresh
/// for each world and removed with it.
pub(crate) struct World {
    dir: TempDir,
    script: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new(),
            script: vec!["mount --make-rprivate /".to_owned()],
        }
    }

    /// An empty directory, writable by all, seen at `target`, whose parent exists but which need
    /// not. Gives the path by which the test reaches it.
    pub(crate) fn directory(&mut self, target: &str) -> String {
        let inside = self.dir.subdir(target.trim_start_matches('/'));
        let all: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&inside, all).unwrap();
        let (parent, _) = target
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((target, ""));
        if !std::path::Path::new(target).is_dir() {
            // A read-only union of an empty tree with the mount point and the host's directory.
            let skeleton = self.dir.subdir(&format!("skeleton{target}"));
            let top = &skeleton[..skeleton.len() - target.len()];
            self.script.push(format!(
                "mount -t overlay overlay -o lowerdir={top}/{parent}:/{parent} /{parent}"
            ));
        }
        self.script.push(format!("mount --bind {inside} {target}"));
        inside
    }

    /// The host's file at `target` with `text` added at its end.
    pub(crate) fn append(&mut self, target: &str, text: &str) {
        let mut whole = std::fs::read_to_string(target).unwrap_or_default();
        whole.push_str(text);
        let name = target.trim_start_matches('/').replace('/', "-");
        let path = self.dir.write(&name, &whole);
        self.script.push(format!("mount --bind {path} {target}"));
    }

    /// Words to put before a program so that it runs in here, keeping its pid.
    pub(crate) fn words(&self) -> Vec<String> {
        let script = format!("set -e; {}; exec \"$@\"", self.script.join("; "));
        ["unshare", "-m", "sh", "-c", &script, "sh"]
            .map(str::to_owned)
            .to_vec()
    }
}
