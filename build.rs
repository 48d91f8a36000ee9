//! How the program is linked.

use std::env;
use std::process::Command;

/// The first glibc that reads packed relocations (DT_RELR).
const READS_PACKED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Addresses that the loader has to adjust take 24 bytes each in a table that it reads at every start; packed, they take
    // one bit or so. A program that is linked so does not start where the loader is older than that: it is packed only for
    // the machine that builds it, and only if that one reads it.
    let is = |name: &str, value: &str| env::var(name).as_deref() == Ok(value);
    let is_for_this_machine = env::var("HOST").is_ok_and(|host| is("TARGET", &host));
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is_for_this_machine
        && glibc().is_some_and(|version| version >= READS_PACKED)
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc: `glibc 2.36`, says `getconf`.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
