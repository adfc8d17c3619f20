//! PostgreSQL's configuration, sized from the machine's memory and written anew at each start.

use std::{fmt::Write, fs, path::Path};

use super::{Settings, place::Place, server_log};

const MIB: u64 = 1024 * 1024;

/// The text of `postgresql.conf`.
pub fn configuration(settings: &Settings, place: &Place) -> String {
    let memory = memory_limit().max(256 * MIB);
    let connections = u64::from(settings.max_connections);
    let etc = &place.etc;
    let mut lines = vec![
        // Nothing but the socket; the same two are on the command line, where nothing overrides them.
        ("listen_addresses", String::new()),
        ("unix_socket_directories", path(&place.endpoint.socket_dir)),
        ("unix_socket_permissions", "0700".to_owned()),
        ("port", place.endpoint.port.to_string()),
        ("hba_file", path(&etc.join("pg_hba.conf"))),
        ("ident_file", path(&etc.join("pg_ident.conf"))),
        ("max_connections", connections.to_string()),
        // What there is of memory is shared with chat and embedding models.
        ("shared_buffers", mebibytes((memory / 8).clamp(32 * MIB, 2048 * MIB))),
        ("effective_cache_size", mebibytes(memory / 2)),
        ("work_mem", mebibytes((memory / 8 / connections.max(1)).clamp(4 * MIB, 32 * MIB))),
        // An HNSW index is built in it, many times faster than beyond it.
        ("maintenance_work_mem", mebibytes((memory / 16).clamp(64 * MIB, 1024 * MIB))),
        ("max_wal_size", "1GB".to_owned()),
        // A schema for each tenant: a dump of 500 of them holds more locks than the default has room for.
        ("max_locks_per_transaction", "1024".to_owned()),
        // The walk over every file after a crash took 373 s on a busy disk, this takes 0.3 s.
        ("recovery_init_sync_method", "syncfs".to_owned()),
        // The configuration is ours to write; ALTER SYSTEM would outlive it.
        ("allow_alter_system", "off".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("jit", "off".to_owned()),
        // The log goes to standard error, which the supervisor reads: the server's own events in English, without
        // the statements of sessions or the rows in them (errors of statements go to the session that made them).
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("log_line_prefix", server_log::PREFIX.to_owned()),
        ("log_timezone", "UTC".to_owned()),
        ("lc_messages", "C".to_owned()),
        ("log_min_messages", "log".to_owned()),
        ("log_min_error_statement", "panic".to_owned()),
        ("log_checkpoints", "off".to_owned()),
    ];
    if small_shared_memory() {
        // A parallel index build keeps its memory there and would fail: containers have 64 MB by default.
        lines.push(("max_parallel_maintenance_workers", "0".to_owned()));
    }
    let mut text = String::from(
        "# Written by aegis at each start. Settings of your own belong in custom.conf beside this file.\n",
    );
    let extra = settings.extra.iter().map(|(name, value)| (name.as_str(), value.clone()));
    for (name, value) in lines.into_iter().chain(extra) {
        let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
    }
    // Unlike include_if_exists, this says nothing in the log while there is none.
    if etc.join("custom.conf").exists() {
        text.push_str("include 'custom.conf'\n");
    }
    text
}

/// Peer authentication for every role, over the socket; which users of the machine may, `pg_ident.conf` says.
pub const HBA: &str = "# Written by aegis at each start.\n\
    local all         all peer map=aegis\n\
    local replication all peer map=aegis\n";

/// The users who may be any role: whoever runs the appliance, and PostgreSQL's own user, who owns the files anyway.
pub fn ident(users: &[&str]) -> String {
    let mut text = String::from("# Written by aegis at each start.\n");
    for user in users {
        let _ = writeln!(text, "aegis \"{}\" all", user.replace('"', "\"\""));
    }
    text
}

fn mebibytes(bytes: u64) -> String {
    format!("{}MB", bytes / MIB)
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Bytes of memory that we may use: the machine's, or what our control group is limited to.
fn memory_limit() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        })
        .map_or(1024 * MIB, |kibibytes: u64| kibibytes * 1024);
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    // A limit may be set at any level above.
    let groups = Path::new("/sys/fs/cgroup").join(group);
    groups
        .ancestors()
        .take_while(|directory| directory.starts_with("/sys/fs/cgroup"))
        .filter_map(|directory| fs::read_to_string(directory.join("memory.max")).ok()?.trim().parse().ok())
        .fold(machine, u64::min)
}

fn small_shared_memory() -> bool {
    nix::sys::statvfs::statvfs("/dev/shm").is_ok_and(|shm| shm.blocks() * shm.fragment_size() < 512 * MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_with_quotes_stays_one_name() {
        assert!(ident(&["ro\"ot"]).contains("aegis \"ro\"\"ot\" all\n"));
    }

    #[test]
    fn the_memory_limit_is_something_a_machine_can_have() {
        assert!((64 * MIB..1 << 50).contains(&memory_limit()));
    }
}
