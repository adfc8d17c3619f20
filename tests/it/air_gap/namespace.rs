//! Networks that lead nowhere: a test is run again, by this same binary, in a network namespace of its own.

use std::{
    env, fs,
    process::{Command, Output},
};

use nix::unistd::geteuid;

/// The interface of [`Network::WayOut`].
pub const INTERFACE: &str = "dummy0";

/// Says that this process is in the namespace.
const INSIDE: &str = "AEGIS_TEST_NAMESPACE";
/// Leaves the proof out where namespaces cannot be made.
const WITHOUT: &str = "AEGIS_TEST_WITHOUT_NAMESPACES";

/// What there is in the namespace.
#[derive(Clone, Copy)]
pub enum Network {
    /// Nothing else.
    Loopback,
    /// An interface with addresses, default routes in both families and name servers behind it, which leads nowhere.
    WayOut,
}

/// Name servers that are reached through whatever way out there is; nobody answers.
const NAME_SERVERS: &str = "nameserver 198.51.100.53\nnameserver 2001:db8:53::53\noptions timeout:1 attempts:1\n";

/// The kernel has nothing to say of its own on the interface: no neighbours are looked for, no routers, no duplicates.
/// Without a dummy interface in the kernel, one end of a cable whose other end hears nothing does the same.
const SET_UP: &str = r#"
ip link set lo up
mount --bind "$1" /etc/resolv.conf
if [ "$2" = way-out ]; then
    quiet() { for key in router_solicitations accept_ra dad_transmits autoconf; do echo 0 > "/proc/sys/net/ipv6/conf/$1/$key"; done; }
    quiet default
    if ! ip link add dummy0 type dummy 2>/dev/null; then
        ip link add dummy0 type veth peer name dummy1
        echo 1 > /proc/sys/net/ipv6/conf/dummy1/disable_ipv6
        ip link set dummy1 up
    fi
    quiet dummy0
    ip link set dummy0 addrgenmode none arp off
    ip link set dummy0 up
    ip address add 10.99.0.2/24 dev dummy0
    ip address add 2001:db8:99::2/64 dev dummy0 nodad
    ip route add default dev dummy0
    ip -6 route add default dev dummy0
fi
shift 2
exec "$@"
"#;

/// Whether this process was started by [`run`].
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs the ignored test `name` inside `network`.
pub fn run(network: Network, name: &str) {
    let home = tempfile::tempdir().unwrap();
    let name_servers = home.path().join("resolv.conf");
    fs::write(&name_servers, NAME_SERVERS).unwrap();
    let kind = match network {
        Network::Loopback => "loopback",
        Network::WayOut => "way-out",
    };
    let within = |program: &[&str]| -> Output {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount"]);
        if !geteuid().is_root() {
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command.args(["--", "bash", "-euc", SET_UP, "bash"]).arg(&name_servers).arg(kind).args(program);
        // Where Debian keeps `ip`, for people who are not root.
        let path = format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default());
        command
            .env("PATH", path)
            .env(INSIDE, kind)
            .output()
            .expect("util-linux is installed: packaging/prerequisites tests")
    };
    let possible = within(&["true"]);
    if !possible.status.success() {
        let why = String::from_utf8_lossy(&possible.stderr);
        assert!(
            env::var_os(WITHOUT).is_some_and(|value| value == "1"),
            "no network namespace can be made here, so that nothing leaves cannot be shown: {why}\
             run the tests as root, or allow unprivileged user namespaces; iproute2 comes with `packaging/prerequisites \
             tests`. {WITHOUT}=1 leaves this proof out."
        );
        eprintln!("left out, because {WITHOUT}=1 and no network namespace can be made: {why}");
        return;
    }
    let binary = env::current_exe().unwrap();
    let binary = binary.to_str().unwrap();
    let output = within(&[binary, "--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    let told = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    // The first one stands behind the test's name.
    for proof in told.lines().filter_map(|line| line.find("PROOF").map(|at| &line[at..])) {
        println!("{proof}");
    }
    // A name that no test has would pass as well, with nothing run.
    assert!(output.status.success() && told.contains("1 passed"), "in the namespace:\n{told}\n{err}");
}
